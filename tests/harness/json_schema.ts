/** Checks values against the subset of JSON Schema that the specification's OpenAPI data uses. */
import { referredSchema, type Schema, type TypeName } from "./openapi.ts";

/** Problems beyond this many are not collected. */
const MAX_PROBLEMS = 10;

const patterns = new Map<string, RegExp>();

function patternOf(source: string): RegExp {
  let pattern = patterns.get(source);
  if (pattern === undefined) patterns.set(source, pattern = new RegExp(source, "u"));
  return pattern;
}

const FORMATS: Readonly<Record<string, (text: string) => boolean>> = {
  "uri": (text) => URL.canParse(text),
  "email": (text) => /^[^@\s]+@[^@\s]+$/.test(text),
  "mx-user-id": (text) => /^@[^:]*:.+$/.test(text),
  "mx-room-id": (text) => /^!.+$/.test(text),
  "mx-room-alias": (text) => /^#[^:]+:.+$/.test(text),
  "mx-event-id": (text) => /^\$.+$/.test(text),
  "mx-server-name": (text) => /^[0-9A-Za-z.:[\]-]+$/.test(text),
  "mx-mxc-uri": (text) => /^mxc:\/\/[^/]+\/[^/]+$/.test(text),
  "mx-unpadded-base64": (text) => /^[0-9A-Za-z+/]*$/.test(text),
  "mx-urlsafe-unpadded-base64": (text) => /^[0-9A-Za-z_-]*$/.test(text),
};

/** Tells whether a value is of a JSON type. Every whole number is an integer, as JSON has no other kind. */
export function isOfType(value: unknown, type: TypeName): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    case "string":
      return typeof value === "string";
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns what does not fit, each as `path: problem`; none when the value fits. */
export function schemaProblems(schema: Schema, value: unknown): string[] {
  const problems: string[] = [];
  examine(schema, { value, at: "$", problems });
  return problems.slice(0, MAX_PROBLEMS);
}

interface Place<T = unknown> {
  readonly value: T;
  /** The path of the value. */
  readonly at: string;
  readonly problems: string[];
}

function examine(schema: Schema, place: Place): void {
  const { value, at, problems } = place;
  if (problems.length >= MAX_PROBLEMS) return;
  if (schema.$ref !== undefined) examine(referredSchema(schema.$ref), place);
  if (schema.type !== undefined) {
    const types = typeof schema.type === "string" ? [schema.type] : schema.type;
    if (!types.some((type) => isOfType(value, type))) {
      problems.push(`${at}: ${excerpt(value)} is not ${types.join(" or ")}`);
      return;
    }
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) {
    problems.push(`${at}: ${excerpt(value)} is none of ${JSON.stringify(schema.enum)}`);
  }
  if (typeof value === "string") examineText(schema, { ...place, value });
  else if (Array.isArray(value)) examineArray(schema, { ...place, value });
  else if (isObject(value)) examineObject(schema, { ...place, value });
  examineCombinations(schema, place);
}

function excerpt(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 120);
}

function examineText({ pattern, format, maxLength }: Schema, { value, at, problems }: Place<string>): void {
  const fits = pattern === undefined || patternOf(pattern).test(value);
  if (!fits) problems.push(`${at}: ${excerpt(value)} does not match ${pattern}`);
  const isForm = format === undefined ? undefined : FORMATS[format];
  if (isForm?.(value) === false) problems.push(`${at}: ${excerpt(value)} is no ${format}`);
  if (maxLength !== undefined && value.length > maxLength) problems.push(`${at}: longer than ${maxLength}`);
}

function examineArray({ items }: Schema, { value, at, problems }: Place<readonly unknown[]>): void {
  if (items === undefined) return;
  value.forEach((item, index) => examine(items, { value: item, at: `${at}[${index}]`, problems }));
}

function examineObject(schema: Schema, place: Place<Readonly<Record<string, unknown>>>): void {
  const { value, at, problems } = place;
  const keys = Object.keys(value);
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) problems.push(`${at}: "${key}" is missing in ${excerpt(value)}`);
  }
  if (schema.minProperties !== undefined && keys.length < schema.minProperties) problems.push(`${at}: too few keys`);
  if (schema.maxProperties !== undefined && keys.length > schema.maxProperties) problems.push(`${at}: too many keys`);
  for (const key of keys) examineKey(schema, { key, value: value[key], at: `${at}.${key}`, problems });
}

function examineKey(schema: Schema, place: Place & { readonly key: string }): void {
  const { properties = {}, patternProperties, additionalProperties, propertyNames } = schema;
  const { key, at, problems } = place;
  if (propertyNames !== undefined) examine(propertyNames, { value: key, at, problems });
  const named = Object.hasOwn(properties, key) ? properties[key] : undefined;
  if (named !== undefined) examine(named, place);
  const matching = Object.entries(patternProperties ?? {}).filter(([pattern]) => patternOf(pattern).test(key));
  for (const [, child] of matching) examine(child, place);
  if (named !== undefined || matching.length > 0) return;
  if (typeof additionalProperties === "object") examine(additionalProperties, place);
  // A schema that names keys by pattern alone describes a map whose keys all have that form.
  const isMap = patternProperties !== undefined && Object.keys(properties).length === 0;
  if (additionalProperties === false || (isMap && additionalProperties === undefined)) {
    problems.push(`${at}: no such key is allowed`);
  }
}

function examineCombinations({ allOf, anyOf, oneOf }: Schema, place: Place): void {
  const { value, at, problems } = place;
  for (const part of allOf ?? []) examine(part, place);
  if (anyOf !== undefined && !anyOf.some((part) => schemaProblems(part, value).length === 0)) {
    problems.push(`${at}: ${excerpt(value)} fits none of the alternatives`);
  }
  if (oneOf === undefined) return;
  const fitting = oneOf.filter((part) => schemaProblems(part, value).length === 0).length;
  if (fitting !== 1) problems.push(`${at}: ${excerpt(value)} fits ${fitting} of the alternatives, not one`);
}
