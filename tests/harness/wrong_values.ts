/** Requests that are right but for one value, which has another type than the specification says. */
import type { Json } from "./client.ts";
import { isOfType } from "./json_schema.ts";
import { type Operation, referredSchema, type Schema, type TypeName } from "./openapi.ts";

/** One of each type. Null is none of them: clients send it for what they leave out. */
const VALUES: readonly Json[] = [7, "text", true, [], { a: 1 }];

/** A value of the wrong type, or one that is missing. */
export interface WrongBody {
  /** What is wrong, for people. */
  readonly what: string;
  readonly body: Json;
}

/** Makes bodies of a right one: each declared property has each type that it may not have, or is missing though required. */
export function wrongBodies({ body: declared }: Operation, body: Json): WrongBody[] {
  const schema = declared?.content["application/json"];
  if (schema === undefined) return [];
  return [...wrongValues(schema, { value: body, at: "" })].map(({ what, value }) => ({ what, body: value }));
}

/** Makes queries with a value that its parameter's grammar does not allow. */
export function wrongQueries({ parameters }: Operation): Readonly<Record<string, string>>[] {
  return parameters.filter(({ in: place }) => place === "query").flatMap(({ name, schema }) => {
    const { enum: allowed } = schema;
    const types = typesOf(schema);
    const isText = types.length === 0 ||
      ((types.includes("string") || types.includes("array")) && allowed === undefined);
    return [...(isText ? [] : ["text"]), ...(types.includes("integer") ? ["1.5", "-1"] : [])].map((value) => ({
      [name]: value,
    }));
  });
}

interface Place {
  readonly value: Json;
  /** The path of the value. */
  readonly at: string;
}

interface Wrong {
  readonly what: string;
  readonly value: Json;
}

function* wrongValues(given: Schema, { value, at }: Place): Generator<Wrong> {
  const schema = merge(given);
  const types = typesOf(schema);
  if (at !== "" && types.length > 0) {
    for (const wrong of VALUES) {
      if (!types.some((type) => isOfType(wrong, type))) {
        yield { what: `${at} is ${JSON.stringify(wrong)}`, value: wrong };
      }
    }
  }
  if (Array.isArray(value) && value.length > 0) {
    for (const { what, value: wrong } of wrongValues(schema.items ?? {}, { value: value[0], at: `${at}[0]` })) {
      yield { what, value: value.with(0, wrong) };
    }
  } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    yield* wrongObjects(schema, { value, at });
  }
}

function* wrongObjects(schema: Schema, { value, at }: Place): Generator<Wrong> {
  const { properties = {}, patternProperties = {}, additionalProperties } = schema;
  const [others] = [...Object.values(patternProperties), additionalProperties];
  for (const key of new Set([...Object.keys(properties), ...Object.keys(value)])) {
    const child = properties[key] ?? (typeof others === "object" ? others : {});
    for (const { what, value: wrong } of wrongValues(child, { value: value[key], at: `${at}.${key}` })) {
      yield { what, value: { ...value, [key]: wrong } };
    }
  }
  for (const key of schema.required ?? []) {
    const { [key]: left, ...rest } = value;
    if (left !== undefined) yield { what: `${at}.${key} is missing`, value: rest };
  }
}

/** Returns a schema with what it refers to and is made of. */
function merge(schema: Schema): Schema {
  const { $ref, ...own } = schema;
  const parts = [...($ref === undefined ? [] : [referredSchema($ref)]), ...schema.allOf ?? []].map(merge);
  const properties = Object.assign({}, ...parts.map((part) => part.properties), schema.properties);
  const required = [...parts, own].flatMap((part) => part.required ?? []);
  return Object.assign({}, ...parts, own, { properties, required });
}

function typesOf(schema: Schema): readonly TypeName[] {
  const { anyOf, oneOf, type } = merge(schema);
  const alternatives = anyOf ?? oneOf;
  if (alternatives !== undefined) return alternatives.flatMap(typesOf);
  return type === undefined ? [] : typeof type === "string" ? [type] : type;
}
