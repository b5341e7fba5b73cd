/**
 * Reading request bodies: bounded, counted while they stream in, strict about UTF-8 and JSON, lenient about
 * `Content-Type`, which clients get wrong and Synapse never looks at.
 */
import type { z } from "zod";
import { badJson, limitExceeded, MatrixError, missingParam, notJson, tooLarge } from "../../protocol/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import type { Ctx } from "../app.ts";

/** Default bound of a JSON body: a few times the largest event. */
export const MAX_JSON_BYTES = 262_144;
/** Values nested deeper than this are refused before anything walks them. */
const MAX_JSON_DEPTH = 128;
/** A client that sends its body slower than this is cut off. */
const BODY_TIMEOUT_MS = 60_000;
/** When one that had to make room for others may come again. */
const RETRY_AFTER_MS = 2_000;

/** How a body is read. */
export interface BodyOptions {
  /** In bytes; `MAX_JSON_BYTES` by default. */
  readonly maxBytes?: number;
  /** Takes a missing body for `{}`, as Synapse does for join, leave and the like. */
  readonly allowEmpty?: boolean;
}

/** Longer bodies, and those whose length is not said, count among what is arriving. */
const SMALL_BYTES = 16_384;

/** Reads a body into memory that grows as it comes, so that what counts is what it takes however small its pieces are. */
async function readStream(
  c: Ctx,
  { body, maxBytes }: { body: ReadableStream<Uint8Array>; maxBytes: number },
): Promise<Uint8Array> {
  const reader = body.getReader();
  let refusal: MatrixError | null = null;
  let bytes = new Uint8Array(0);
  const end = (error: MatrixError): void => {
    refusal ??= error;
    bytes = new Uint8Array(0);
    // Ends the read that is waiting.
    reader.cancel(error).catch(() => {});
  };
  using share = c.env.arriving.open(c.env.clientIp, () => end(limitExceeded(RETRY_AFTER_MS)));
  const timer = setTimeout(() => end(tooSlow()), BODY_TIMEOUT_MS);
  let length = 0;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (refusal !== null) throw refusal;
      if (done) return bytes.subarray(0, length);
      const needed = length + value.length;
      if (needed > maxBytes) end(tooLarge("Request body is too large"));
      else if (needed > bytes.length) {
        const size = Math.max(needed, Math.min(maxBytes, 2 * bytes.length));
        share.take(size - bytes.length);
        if (refusal === null) bytes = grown(bytes, size);
      }
      if (refusal !== null) throw refusal;
      bytes.set(value, length);
      length = needed;
    }
  } finally {
    clearTimeout(timer);
  }
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(size);
  larger.set(bytes);
  return larger;
}

function tooSlow(): MatrixError {
  return new MatrixError(408, "M_UNKNOWN", "Request body did not arrive in time");
}

async function withTimeout<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expiry = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooSlow()), BODY_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, expiry]);
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the body's bytes; 413 when there are more than `maxBytes`, noticed as they arrive. */
export async function readBytes(c: Ctx, maxBytes: number): Promise<Uint8Array> {
  const request = c.req.raw;
  const { body } = request;
  if (body === null) return new Uint8Array(0);
  const declared = request.headers.get("content-length");
  const length = declared === null ? Infinity : Number(declared);
  if (declared !== null && length > maxBytes) throw tooLarge("Request body is too large");
  // HTTP ends the body at the declared length, so a small one needs no counting.
  if (length <= SMALL_BYTES) return await arrived(withTimeout(request.bytes()));
  return await arrived(readStream(c, { body, maxBytes }));
}

/** A client that goes away in the middle of its request is no fault of the server. */
async function arrived(body: Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await body;
  } catch (error) {
    if (error instanceof MatrixError) throw error;
    throw new MatrixError(400, "M_UNKNOWN", "Request body did not arrive whole");
  }
}

function isTooDeep(value: JsonValue, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (depth === 0) return true;
  for (const child of Array.isArray(value) ? value : Object.values(value)) {
    if (typeof child === "object" && child !== null && isTooDeep(child, depth - 1)) return true;
  }
  return false;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Parses UTF-8 bytes as JSON of bounded depth, or throws `M_NOT_JSON` or `M_BAD_JSON`. */
export function parseJson(bytes: Uint8Array): JsonValue {
  let value: JsonValue;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw notJson();
  }
  if (isTooDeep(value, MAX_JSON_DEPTH)) throw badJson("JSON is nested too deeply");
  return value;
}

/** Reads a body that must be a JSON object; unknown keys are kept. */
export async function readJsonObject(c: Ctx, options: BodyOptions = {}): Promise<JsonObject> {
  const bytes = await readBytes(c, options.maxBytes ?? MAX_JSON_BYTES);
  if (bytes.length === 0 && options.allowEmpty === true) return {};
  const value = parseJson(bytes);
  if (!isJsonObject(value)) throw badJson("Content must be a JSON object");
  return value;
}

const MAX_FORM_BYTES = 65_536;

/** Reads the form of a page, as browsers send it without files. */
export async function readForm(
  c: Ctx,
  { maxBytes = MAX_FORM_BYTES }: { maxBytes?: number } = {},
): Promise<URLSearchParams> {
  return new URLSearchParams(new TextDecoder().decode(await readBytes(c, maxBytes)));
}

/** Reads a body that must match `schema` (made with `z.looseObject` where unknown keys matter). */
export async function readJson<Schema extends z.ZodType>(
  c: Ctx,
  schema: Schema,
  options: BodyOptions = {},
): Promise<z.output<Schema>> {
  return checkJson(schema, await readJsonObject(c, options));
}

/** Checks a parsed value: a missing key is `M_MISSING_PARAM`, anything else that does not fit `M_BAD_JSON`. */
export function checkJson<Schema extends z.ZodType>(schema: Schema, value: JsonValue): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined ? "" : issue.path.map(String).join(".");
  if (issue !== undefined && path !== "" && valueAt(value, issue.path) === undefined) throw missingParam(path);
  throw badJson(path === "" ? "Content does not have the expected shape" : `Invalid value for "${path}"`);
}

/** Leaves out what is null: some clients' serialisers write null for what is absent. */
export function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}

function valueAt(value: JsonValue, path: readonly PropertyKey[]): JsonValue | undefined {
  let current: JsonValue | undefined = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Array.isArray(current)
      ? current[Number(key)]
      : Object.hasOwn(current, String(key))
      ? current[String(key)]
      : undefined;
  }
  return current;
}
