/**
 * Pages for people: rendered from templates, never cached, and under a content security policy that allows nothing but the
 * page's own style and, where there is any, its one script.
 */
import { MatrixError } from "../../protocol/errors.ts";
import { templateHash, type Templates, type TemplateVars } from "../../services/templates.ts";

/** What pages are made with. */
export interface PageDeps {
  readonly templates: Templates;
}

/** Status (200 by default) and what the page may load besides its own style. */
export interface PageOptions {
  readonly status?: number;
  /** Sources of scripts. */
  readonly scripts?: readonly string[];
  /** Sources of frames, and of requests that scripts make. */
  readonly frames?: readonly string[];
  /** Where else scripts send requests. */
  readonly requests?: readonly string[];
  /** Whether it shows pictures of this server. */
  readonly images?: boolean;
  /** Where else the answer to a form may lead, as browsers hold redirects against the page too. */
  readonly formTargets?: readonly string[];
  /** Cookies that the browser keeps from now on. */
  readonly cookies?: readonly string[];
}

const STYLE = `${templateHash("style.css")} ${templateHash("sso.css")}`;

/** Makes pages. */
export class Pages {
  readonly #templates: Templates;

  constructor({ templates }: PageDeps) {
    this.#templates = templates;
  }

  /** Answers with a template. */
  async show(name: string, vars: TemplateVars = {}, options: PageOptions = {}): Promise<Response> {
    return this.html(await this.#templates.render(name, vars), options);
  }

  /** Answers with HTML. */
  html(text: string, options: PageOptions = {}): Response {
    const { status = 200, scripts = [], frames = [], requests = [], formTargets = [], cookies = [] } = options;
    const list = (sources: readonly string[]) => sources.length === 0 ? "'none'" : sources.join(" ");
    // Templates of an operator's own may style themselves.
    const style = this.#templates.hasOwn ? "'unsafe-inline'" : [STYLE, ...frames].join(" ");
    const policy = [
      "default-src 'none'",
      `style-src ${style}`,
      `img-src ${this.#templates.hasOwn ? "'self' data:" : options.images === true ? "'self'" : "'none'"}`,
      `script-src ${list(scripts)}`,
      `frame-src ${list(frames)}`,
      `connect-src ${list([...frames, ...requests])}`,
      ["form-action 'self'", ...formTargets].join(" "),
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ];
    const response = new Response(text, {
      status,
      headers: {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy.join("; "),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "x-robots-tag": "noindex",
      },
    });
    return withCookies(response, cookies);
  }
}

/** Returns what a refusal says to a person; anything else is thrown on. */
export function reasonOf(error: unknown): string {
  if (error instanceof MatrixError) return error.message;
  throw error;
}

/** Returns an answer after which the browser keeps further cookies. */
export function withCookies(response: Response, cookies: readonly string[]): Response {
  for (const cookie of cookies) response.headers.append("set-cookie", cookie);
  return response;
}
