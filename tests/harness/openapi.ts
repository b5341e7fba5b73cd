/**
 * The client-server operations of the specification, as its OpenAPI data describes them.
 *
 * The data is `tests/fixtures/spec/client_server.jsonl`, made by `tests/tools/openapi_fixture.ts`.
 */

/** The JSON types that schemas name. */
export type TypeName = "string" | "integer" | "number" | "boolean" | "object" | "array" | "null";

/** The subset of JSON Schema that the specification uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: TypeName | readonly TypeName[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly propertyNames?: Schema;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly pattern?: string;
  readonly format?: string;
  readonly maxLength?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
}

/** A parameter of an operation. */
export interface Parameter {
  readonly in: "path" | "query" | "header";
  readonly name: string;
  readonly required: boolean;
  readonly schema: Schema;
}

/** Schemas by content type. */
export type Contents = Readonly<Record<string, Schema>>;

/** One method of one path. */
export interface Operation {
  readonly method: string;
  /** The full path with `{name}` for each parameter. */
  readonly path: string;
  /** The specification's file, which is its module. */
  readonly file: string;
  readonly id: string;
  /** The ways to authenticate, an empty one where that may be left out; none for what anyone may call. */
  readonly security: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly body: { readonly required: boolean; readonly content: Contents } | null;
  /** By status. */
  readonly responses: Readonly<Record<string, Contents>>;
}

type Line = Operation | { readonly key: string; readonly schema: Schema } | { readonly source: string };

const text = Deno.readTextFileSync(new URL("../fixtures/spec/client_server.jsonl", import.meta.url));
const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
const schemas = new Map(lines.flatMap((line) => "key" in line ? [[line.key, line.schema]] : []));

/** Every operation, sorted by path and method. */
export const OPERATIONS: readonly Operation[] = lines.filter((line) => "method" in line);

/** Returns the schema that a `$ref` names. */
export function referredSchema(reference: string): Schema {
  const schema = schemas.get(reference);
  if (schema === undefined) throw new Error(`The fixture has no schema "${reference}"`);
  return schema;
}

/** Operations by method and number of segments; those with fewer parameters first, because literals win. */
const byShape = new Map<string, { readonly segments: readonly string[]; readonly operation: Operation }[]>();
for (const operation of [...OPERATIONS].sort((a, b) => holes(a) - holes(b))) {
  const segments = operation.path.split("/");
  const shape = `${operation.method} ${segments.length}`;
  byShape.set(shape, [...byShape.get(shape) ?? [], { segments, operation }]);
}

function holes({ path }: Operation): number {
  return path.split("{").length;
}

/** Returns the operation that a request with this method and path (with or without query) is for, if any. */
export function findOperation(method: string, target: string): Operation | null {
  const [path = ""] = target.split("?");
  const parts = path.split("/");
  const candidates = byShape.get(`${method} ${parts.length}`) ?? [];
  const found = candidates.find(({ segments }) =>
    segments.every((segment, index) => segment === parts[index] || (segment.startsWith("{") && parts[index] !== ""))
  );
  return found?.operation ?? null;
}
