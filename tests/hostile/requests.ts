/** Makes hostile requests out of one that is right. */
import type { Json } from "../harness/client.ts";
import { type Operation, referredSchema, type Schema } from "../harness/openapi.ts";
import { BODIES, CONTENT_TYPES, CORE_VALUES, Dice, ENCODED, raw, toJsonText, VALUES } from "./values.ts";

/** A request that is right, or close to it. */
export interface GoodRequest {
  readonly operation: Operation;
  /** By name, not yet encoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body?: Json;
}

/** A request as it is sent. */
export interface HostileRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body?: string | Uint8Array;
  readonly contentType?: string;
}

/** How much is tried. */
export interface Effort {
  /** Values tried at each place, besides those tried everywhere. */
  readonly perPlace: number;
  readonly dice: Dice;
}

/** Properties nested deeper are not changed one by one. */
const MAX_DEPTH = 5;
/** Waiting for something to happen is no failure to answer, so nothing that may mean a long time is asked for. */
const WAITS = new Set(["timeout", "timeout_ms"]);

/** Returns the request as it is, then every hostile change of it. */
export function* hostileRequests(good: GoodRequest, effort: Effort): Generator<HostileRequest> {
  const { method } = good.operation;
  const path = pathOf(good);
  const plain = good.body === undefined ? {} : { body: toJsonText(good.body) };
  yield { method, path, ...plain };
  for (const changed of hostilePaths(good, effort)) yield { method, path: changed, ...plain };
  if (good.body === undefined) return;
  for (const body of hostileBodies(good, effort)) yield { method, path, body };
  for (const body of effort.dice.pick(BODIES, effort.perPlace * 2)) yield { method, path, body };
  for (const contentType of effort.dice.pick(CONTENT_TYPES, Math.ceil(effort.perPlace / 4))) {
    yield { method, path, ...plain, contentType };
  }
}

function pathOf({ operation: { path }, params, query }: GoodRequest, replaced: Record<string, string> = {}): string {
  const filled = path.replace(
    /\{(\w+)\}/g,
    (_, name: string) => replaced[name] ?? encodeURIComponent(params[name] ?? "x"),
  );
  const search = new URLSearchParams(query).toString();
  return search === "" ? filled : `${filled}?${search}`;
}

function* hostilePaths(good: GoodRequest, { perPlace, dice }: Effort): Generator<string> {
  for (const { in: place, name } of good.operation.parameters) {
    if (place === "path") {
      for (const text of dice.pick(ENCODED, perPlace)) yield pathOf(good, { [name]: text });
    }
    if (place !== "query") continue;
    const { [name]: value = "", ...others } = good.query;
    const rest = pathOf({ ...good, query: others });
    const join = `${rest}${rest.includes("?") ? "&" : "?"}`;
    if (!WAITS.has(name)) yield rest;
    for (const text of dice.pick(ENCODED, perPlace)) {
      if (!WAITS.has(name) || !/^\d/.test(text)) yield `${join}${name}=${text}`;
    }
    yield `${join}${name}=${encodeURIComponent(value)}&${name}=%00&${name}=`;
    yield `${join}${name}[]=1&${name}`;
    if (name === "filter") {
      for (const filter of hostileFilters(value, { perPlace, dice })) yield `${join}${name}=${filter}`;
    }
  }
  const whole = pathOf(good);
  yield `${whole}${whole.includes("?") ? "&" : "?"}${"a=b&".repeat(500)}__proto__=1&=&&&%=%`;
}

/** Filters are JSON inside of the query. */
function* hostileFilters(value: string, effort: Effort): Generator<string> {
  const filter: Json = value.startsWith("{") ? JSON.parse(value) : {};
  for (const changed of changes(filter, { schema: {}, depth: 0, effort })) {
    const text = toJsonText(changed);
    if (text.length < 8_000) yield encodeURIComponent(text);
  }
}

function* hostileBodies({ operation, body }: GoodRequest, effort: Effort): Generator<string> {
  const schema = operation.body?.content["application/json"] ?? {};
  for (const changed of changes(body, { schema, depth: 0, effort })) yield toJsonText(changed);
  yield toJsonText({ ...body, [`${"k".repeat(20_000)}`]: 1, "": null, "\u0000": 1, "\ud800": {} });
  yield toJsonText({ ...body, more: raw('{"__proto__":{"a":1},"constructor":{"prototype":1}}') });
}

/** Yields copies of a value with one thing wrong in each. */
function* changes(
  value: Json,
  { schema, depth, effort }: { schema: Schema; depth: number; effort: Effort },
): Generator<Json> {
  if (depth > MAX_DEPTH || typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.slice(0, 2).entries()) {
      const inner = { schema: schema.items ?? {}, depth: depth + 1, effort };
      for (const changed of [...wrongValues(effort), ...changes(item, inner)]) yield value.with(index, changed);
    }
    return;
  }
  const properties = propertiesOf(schema);
  for (const key of new Set([...Object.keys(value), ...Object.keys(properties)])) {
    const { [key]: child, ...others } = value;
    if (child !== undefined) yield others;
    for (const wrong of wrongValues(effort)) yield { ...value, [key]: wrong };
    for (const changed of changes(child, { schema: properties[key] ?? {}, depth: depth + 1, effort })) {
      yield { ...value, [key]: changed };
    }
  }
}

function wrongValues({ perPlace, dice }: Effort): Json[] {
  return [...CORE_VALUES, ...dice.pick(VALUES, perPlace)];
}

/** Returns the properties that a schema names, those of the schemas it is made of included. */
function propertiesOf(schema: Schema): Readonly<Record<string, Schema>> {
  const parts = [...schema.allOf ?? [], ...schema.anyOf ?? [], ...schema.oneOf ?? []];
  if (schema.$ref !== undefined) parts.push(referredSchema(schema.$ref));
  return Object.assign({}, ...parts.map(propertiesOf), schema.properties ?? {});
}
