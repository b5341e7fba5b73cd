/**
 * Pages and mails from Jinja2 templates: the built-in ones, and in their places those of
 * `templates.custom_template_directory`, which have Synapse's file names and variables.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { loadNunjucks, type Nunjucks, type TemplateEnvironment } from "../lib/nunjucks.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { TEMPLATE_FILES } from "./template_files.ts";

/** What templates show; HTML that is safe already comes as `SafeHtml`. */
export type TemplateVars = Readonly<Record<string, unknown>>;

/** HTML that goes into a page as it is. */
export class SafeHtml {
  readonly html: string;

  constructor(html: string) {
    this.html = html;
  }
}

/** What templates are rendered for. */
export interface TemplatesDeps {
  readonly serverName: string;
  /** With a slash at its end. */
  readonly publicBaseurl: string;
  /** Templates of the operator by file name. */
  readonly own: ReadonlyMap<string, string>;
}

const MAX_FILES = 500;
const MAX_FILE_BYTES = 1_048_576;

interface Engine {
  readonly nunjucks: Nunjucks;
  readonly html: TemplateEnvironment;
  readonly text: TemplateEnvironment;
}

/** Renders templates. */
export class Templates {
  readonly #deps: TemplatesDeps;
  #engine: Promise<Engine> | null = null;

  constructor(deps: TemplatesDeps) {
    this.#deps = deps;
  }

  /** Whether the operator has templates of their own, which may style pages in ways of their own. */
  get hasOwn(): boolean {
    return this.#deps.own.size > 0;
  }

  /** Renders a template; what stands in `.html` is escaped, other kinds are text. Throws for a template that is broken. */
  async render(name: string, vars: TemplateVars): Promise<string> {
    const { nunjucks, html, text } = await (this.#engine ??= this.#load());
    const environment = name.endsWith(".html") ? html : text;
    return environment.render(name, { server_name: this.#deps.serverName, ...safeValues(vars, nunjucks) as object });
  }

  /** Renders text that is a template itself, such as a consent page of another folder. */
  async renderText(source: string, vars: TemplateVars): Promise<string> {
    const { nunjucks, html } = await (this.#engine ??= this.#load());
    const values = { server_name: this.#deps.serverName, ...safeValues(vars, nunjucks) as object };
    return html.renderString(source, values);
  }

  async #load(): Promise<Engine> {
    const nunjucks = await loadNunjucks();
    const { own } = this.#deps;
    const loader = {
      getSource(name: string): { src: string; path: string; noCache: boolean } {
        const src = own.get(name) ?? (Object.hasOwn(TEMPLATE_FILES, name) ? TEMPLATE_FILES[name] : undefined);
        if (src === undefined) throw new Error(`There is no template ${name}`);
        return { src, path: name, noCache: false };
      },
    };
    const make = (autoescape: boolean): TemplateEnvironment => {
      const environment = new nunjucks.Environment(loader, { autoescape });
      environment.addFilter("format_ts", formatTs);
      environment.addFilter("localpart_from_email", (address: unknown) => String(address).split("@", 1)[0] ?? "");
      environment.addFilter("mxc_to_http", (...args: unknown[]) => this.#mxcToHttp(args));
      return environment;
    };
    return { nunjucks, html: make(true), text: make(false) };
  }

  #mxcToHttp([mxc, width, height, method = "crop"]: readonly unknown[]): string {
    const match = /^mxc:\/\/([^/?#]+)\/([^/?#]+)$/.exec(String(mxc));
    if (match === null) return "";
    const query = new URLSearchParams({ width: String(width), height: String(height), method: String(method) });
    return `${this.#deps.publicBaseurl}_matrix/media/v3/thumbnail/${match[1]}/${match[2]}?${query}`;
  }
}

/** Reads the operator's templates; none where there is no folder. Throws `StartupError` for one that cannot be read. */
export async function readOwnTemplates(folder: string | null): Promise<Map<string, string>> {
  const own = new Map<string, string>();
  if (folder === null) return own;
  try {
    for await (const { name, isFile, isSymlink } of Deno.readDir(folder)) {
      if (!isFile && !isSymlink) continue;
      const info = await Deno.stat(join(folder, name));
      if (!info.isFile || info.size > MAX_FILE_BYTES) continue;
      if (own.size >= MAX_FILES) throw new Error(`it holds more than ${MAX_FILES} files`);
      own.set(name, await Deno.readTextFile(join(folder, name)));
    }
  } catch (error) {
    throw new StartupError(`Cannot read templates.custom_template_directory (${folder}): ${reasonOf(error)}`);
  }
  return own;
}

/** Returns the hash of a built-in template's text, as a content security policy names what it allows. */
export function templateHash(name: string): string {
  const text = TEMPLATE_FILES[name] ?? "";
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

function safeValues(value: unknown, nunjucks: Nunjucks): unknown {
  if (value instanceof SafeHtml) return new nunjucks.runtime.SafeString(value.html);
  if (Array.isArray(value)) return value.map((item) => safeValues(item, nunjucks));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, safeValues(item, nunjucks)]));
}

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
  .concat(["November", "December"]);
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Writes a time in milliseconds by a format of `strftime`, in the server's time zone as Synapse does. */
export function formatTs(ts: unknown, format: unknown): string {
  const date = new Date(Number(ts));
  if (Number.isNaN(date.getTime())) return "";
  const two = (value: number) => String(value).padStart(2, "0");
  const month = MONTHS[date.getMonth()] ?? "";
  const day = DAYS[date.getDay()] ?? "";
  const parts: Readonly<Record<string, string>> = {
    a: day.slice(0, 3),
    A: day,
    b: month.slice(0, 3),
    B: month,
    d: two(date.getDate()),
    e: String(date.getDate()).padStart(2),
    H: two(date.getHours()),
    I: two(date.getHours() % 12 || 12),
    m: two(date.getMonth() + 1),
    M: two(date.getMinutes()),
    p: date.getHours() < 12 ? "AM" : "PM",
    S: two(date.getSeconds()),
    y: two(date.getFullYear() % 100),
    Y: String(date.getFullYear()),
    "%": "%",
  };
  return String(format).replace(/%([a-zA-Z%])/g, (whole, letter: string) => parts[letter] ?? whole);
}
