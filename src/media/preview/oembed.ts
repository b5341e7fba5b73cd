/** oEmbed: descriptions that sites offer beside their pages. See https://oembed.com/. */
import { z } from "zod";
import { reasonOf } from "../../lib/reason.ts";
import { StartupError } from "../../lib/startup_error.ts";
import type { JsonObject, JsonValue } from "../../protocol/json.ts";

/** A site whose pages are described at another address. */
export interface OembedProvider {
  readonly patterns: readonly RegExp[];
  readonly endpoint: string;
}

/** What a description says; texts are unbounded and unchecked. */
export interface OembedDescription {
  readonly title: string | null;
  readonly author: string | null;
  readonly site: string | null;
  readonly image: string | null;
  /** HTML whose text describes the page. */
  readonly html: string | null;
  readonly isVideo: boolean;
  /** In seconds. */
  readonly cacheAge: number | null;
}

/** Sites that say next to nothing in their pages. */
const DEFAULT_PROVIDERS: readonly { readonly schemes: readonly string[]; readonly url: string }[] = [
  {
    url: "https://publish.twitter.com/oembed",
    schemes: [
      "https://twitter.com/*/status/*",
      "https://*.twitter.com/*/status/*",
      "https://x.com/*/status/*",
      "https://*.x.com/*/status/*",
    ],
  },
  {
    url: "https://www.youtube.com/oembed",
    schemes: [
      "https://*.youtube.com/watch*",
      "https://*.youtube.com/shorts/*",
      "https://youtu.be/*",
    ],
  },
];

const ProviderFile = z.array(z.looseObject({
  endpoints: z.array(z.looseObject({
    schemes: z.array(z.string()).optional(),
    url: z.string(),
    formats: z.array(z.string()).optional(),
  })),
}));

/** Reads the providers of the configuration. Throws `StartupError` for a file that is not as oembed.com has it. */
export async function loadOembedProviders(
  { disableDefaultProviders, additionalProviders }: {
    disableDefaultProviders: boolean;
    additionalProviders: readonly string[];
  },
): Promise<OembedProvider[]> {
  const providers = disableDefaultProviders ? [] : DEFAULT_PROVIDERS.map(toProvider);
  for (const path of additionalProviders) {
    const parsed = ProviderFile.safeParse(await readJsonFile(path));
    if (!parsed.success) throw new StartupError(`${path} is not a list of oEmbed providers`);
    for (const { endpoints } of parsed.data) {
      for (const { schemes = [], url, formats = ["json"] } of endpoints) {
        if (formats.includes("json")) providers.push(toProvider({ schemes, url }));
      }
    }
  }
  return providers;
}

async function readJsonFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    throw new StartupError(`Cannot read the oEmbed providers of ${path}: ${reasonOf(error)}`);
  }
}

function toProvider({ schemes, url }: { schemes: readonly string[]; url: string }): OembedProvider {
  const patterns = schemes.map((scheme) => {
    const [before = "", after = ""] = scheme.split("://");
    const [host = "", ...path] = after.split("/");
    const glob = (text: string, any: string) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", any);
    const protocol = before === "http" ? "https?" : glob(before, "https?");
    return new RegExp(`^${protocol}://${glob(host, "[A-Za-z0-9.-]*")}/${glob(path.join("/"), ".*")}$`);
  });
  return { patterns, endpoint: url.replaceAll("{format}", "json") };
}

/** Returns where a page is described, or null. */
export function oembedUrlFor(url: URL, providers: readonly OembedProvider[]): URL | null {
  const page = url.href.replace(/#.*$/, "");
  const provider = providers.find(({ patterns }) => patterns.some((pattern) => pattern.test(page)));
  const target = provider === undefined ? null : URL.parse(provider.endpoint);
  target?.searchParams.set("url", page);
  target?.searchParams.set("format", "json");
  return target;
}

/** Reads a description; null when it is none. */
export function readOembed(value: JsonValue): OembedDescription | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { type, version } = value;
  if (typeof type !== "string" || (version !== undefined && String(version) !== "1.0" && version !== 1)) return null;
  return {
    title: textOf(value, "title"),
    author: textOf(value, "author_name"),
    site: textOf(value, "provider_name"),
    image: type === "photo" ? textOf(value, "url") : textOf(value, "thumbnail_url"),
    html: type === "rich" ? textOf(value, "html") : null,
    isVideo: type === "video",
    cacheAge: Number.isFinite(Number(value.cache_age)) && value.cache_age !== null ? Number(value.cache_age) : null,
  };
}

function textOf(value: JsonObject, name: string): string | null {
  const text = value[name];
  return typeof text === "string" && text.trim() !== "" ? text : null;
}
