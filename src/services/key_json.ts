/** Keys as JSON: what clients upload and what is stored of it. */
import { canonicalJson } from "../protocol/canonical_json.ts";
import { badJson } from "../protocol/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";

/** Reads a stored key; one that is no object, as old one-time keys are not, reads as empty. */
export function parseKeyObject(text: string): JsonObject {
  const value: JsonValue = JSON.parse(text);
  return isJsonObject(value) ? value : {};
}

/** Tells whether a value has the form of signatures: texts by key, by signer. */
export function areSignatures(value: JsonValue | undefined): value is Record<string, Record<string, string>> {
  return isJsonObject(value) && Object.values(value).every(areTexts);
}

/** Tells whether a value is an object of texts. */
export function areTexts(value: JsonValue | undefined): value is Record<string, string> {
  return isJsonObject(value) && Object.values(value).every((text) => typeof text === "string");
}

/** Returns the canonical text of a key. Throws 400 when it has none. */
export function canonicalKeyText(key: JsonValue): string {
  try {
    return canonicalJson(key);
  } catch {
    throw badJson("Keys must be canonical JSON");
  }
}
