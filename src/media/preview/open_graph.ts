/** From what a page, and its oEmbed description, say to the fields that clients show. See https://ogp.me/. */
import type { JsonObject } from "../../protocol/json.ts";
import type { PageResult } from "../child/messages.ts";
import type { OembedDescription } from "./oembed.ts";

/** A preview before its image has been fetched. */
export interface Draft {
  readonly fields: Record<string, string>;
  /** Absolute, `http` or `https`; null where there is none. */
  readonly image: URL | null;
}

const MAX_FIELD = 1_000;
const MAX_DESCRIPTION = 500;
/** The image is replaced by our copy, so what else the page says of it would not fit. */
const DROPPED = /^og:image(:|$)/;
const LINKS = /^og:(url|(audio|video)(:url|:secure_url)?)$/;

/** Combines what is known of a page. */
export function draftPreview(
  { page, oembed, url }: { page: PageResult | null; oembed: OembedDescription | null; url: URL },
): Draft {
  const properties = page?.properties ?? {};
  const base = baseOf(page, url);
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(properties)) {
    if (!name.startsWith("og:") || DROPPED.test(name)) continue;
    const text = LINKS.test(name) ? webLink(value, base) : value;
    if (text !== null) fields[name] = cut(text, MAX_FIELD);
  }
  fill(fields, {
    "og:title": [properties["twitter:title"], oembed?.title, page?.title, oembed?.author],
    "og:site_name": [oembed?.site],
    "og:description": [properties["twitter:description"], page?.description, page?.text],
    "og:type": [oembed?.isVideo === true ? "video.other" : null],
  });
  if (fields["og:description"] !== undefined) {
    fields["og:description"] = cut(fields["og:description"], MAX_DESCRIPTION);
  }
  const images = [
    properties["og:image:secure_url"],
    properties["og:image"],
    properties["og:image:url"],
    properties["twitter:image"],
    properties["twitter:image:src"],
    oembed?.image,
    page?.image,
  ];
  return { fields, image: firstLink(images, base) };
}

/** Returns the fields for our copy of an image. */
export function imageFields(
  image: { uri: string; contentType: string; width: number; height: number; length: number },
): JsonObject {
  return {
    "og:image": image.uri,
    "og:image:type": image.contentType,
    "og:image:width": image.width,
    "og:image:height": image.height,
    "matrix:image:size": image.length,
  };
}

function baseOf(page: PageResult | null, url: URL): URL {
  const base = page?.baseHref === null || page === null ? null : URL.parse(page.baseHref, url);
  return base !== null && isWeb(base) ? base : url;
}

function firstLink(candidates: readonly (string | null | undefined)[], base: URL): URL | null {
  for (const candidate of candidates) {
    const url = candidate === null || candidate === undefined ? null : URL.parse(candidate, base);
    if (url !== null && isWeb(url)) return url;
  }
  return null;
}

/** Returns a link as the page has it, made absolute where it is not; null for what must not be followed. */
function webLink(text: string, base: URL): string | null {
  const url = URL.parse(text, base);
  if (url === null || !isWeb(url)) return null;
  return /^https?:\/\//i.test(text) ? text : url.href;
}

function isWeb({ protocol }: URL): boolean {
  return protocol === "http:" || protocol === "https:";
}

type Candidates = Readonly<Record<string, readonly (string | null | undefined)[]>>;

/** Sets the fields that the page does not set itself to the first text there is for them. */
function fill(fields: Record<string, string>, candidates: Candidates): void {
  for (const [name, texts] of Object.entries(candidates)) {
    const found = texts.find((text) => text !== null && text !== undefined && text !== "");
    if (found !== null && found !== undefined) fields[name] ??= cut(found, MAX_FIELD);
  }
}

function cut(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1).toWellFormed()}…`;
}
