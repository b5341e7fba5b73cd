/** Path and query parameters, parsed and checked. */
import { z } from "zod";
import { invalidParam, missingParam } from "../../protocol/errors.ts";
import { isStorable } from "../../protocol/ids.ts";
import type { Ctx } from "../app.ts";

/** Returns a checked value, or null when the text is not one. */
export type ParamParser<T> = (text: string) => T | null;

/** Parses path parameters by name; 400 `M_INVALID_PARAM` when one does not fit. Parameters arrive percent-decoded. */
export function pathIds<T extends Record<string, unknown>>(
  c: Ctx,
  parsers: { readonly [K in keyof T]: ParamParser<T[K]> },
): T {
  const parsed: Partial<T> = {};
  for (const name of Object.keys(parsers) as (keyof T & string)[]) {
    const text = c.req.param(name) ?? "";
    const value = parsers[name](text);
    if (value === null) throw invalidParam(`Invalid ${name} "${text.slice(0, 255)}"`);
    parsed[name] = value;
  }
  return parsed as T;
}

/** Returns a path parameter of bounded length as it is, for parts of a path that have no grammar (types, keys). */
export function pathText(c: Ctx, name: string, { maxLength = 255 }: { maxLength?: number } = {}): string {
  const text = c.req.param(name) ?? "";
  if (text.length > maxLength) throw invalidParam(`Parameter "${name}" is too long`);
  if (!isStorable(text, maxLength * 3)) throw invalidParam(`Parameter "${name}" holds characters that are not allowed`);
  return text;
}

/** Returns the query of a request; the first value counts where one is repeated. */
export function searchParams(c: Ctx): URLSearchParams {
  const url = c.req.raw.url;
  const start = url.indexOf("?");
  if (start < 0) return new URLSearchParams();
  const end = url.indexOf("#", start);
  return new URLSearchParams(url.slice(start + 1, end < 0 ? undefined : end));
}

/**
 * Parses the query by `schema`, whose keys are the parameters' names and whose inputs are strings (use `intParam` and
 * its siblings). A missing required parameter is `M_MISSING_PARAM`, a wrong one `M_INVALID_PARAM`.
 */
export function query<Schema extends z.ZodObject>(c: Ctx, schema: Schema): z.output<Schema> {
  const found = searchParams(c);
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = found.get(name);
    if (value !== null) values[name] = value;
  }
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const name = String(result.error.issues[0]?.path[0] ?? "");
  if (!Object.hasOwn(values, name)) throw missingParam(name);
  throw invalidParam(`Invalid value for query parameter "${name}"`);
}

/** A whole number in a query, within bounds (by default not negative). */
export function intParam(
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {},
): z.ZodType<number, string> {
  return z.string().regex(/^-?[0-9]{1,16}$/).transform(Number).pipe(z.number().min(min).max(max));
}

/** `true` or `false` in a query. */
export function boolParam(): z.ZodType<boolean, string> {
  return z.enum(["true", "false"]).transform((text) => text === "true");
}
