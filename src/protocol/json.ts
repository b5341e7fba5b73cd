/** JSON as Matrix events carry it. Values come from `JSON.parse`, so they are trees without cycles. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object with any keys. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/** Tells whether `value` is a JSON object: not null and not an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
