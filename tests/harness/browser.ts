/** A browser as far as logins need one: it keeps cookies by their paths and reads pages as text. */

import { noteAnswer } from "./coverage.ts";

/** What a page answers. */
export interface BrowserAnswer {
  readonly status: number;
  readonly text: string;
  /** Where it leads; null for a page. */
  readonly location: string | null;
  readonly headers: Headers;
}

interface Cookie {
  readonly value: string;
  readonly path: string;
}

/** A browser that reaches the server's public address at its real one. */
export class Browser {
  readonly #publicBase: string;
  readonly #base: string;
  readonly #cookies = new Map<string, Cookie>();

  constructor({ publicBase, base }: { publicBase: string; base: string }) {
    this.#publicBase = publicBase;
    this.#base = base;
  }

  /** The names of the cookies it has. */
  get cookies(): readonly string[] {
    return [...this.#cookies.keys()].sort();
  }

  /** Sets a cookie as if the server had. */
  setCookie(name: string, { value, path }: Cookie): void {
    this.#cookies.set(name, { value, path });
  }

  /** The value of a cookie; empty where there is none. */
  cookie(name: string): string {
    return this.#cookies.get(name)?.value ?? "";
  }

  /** Opens an address. */
  get(url: string): Promise<BrowserAnswer> {
    return this.#request(url, null);
  }

  /** Sends a form. */
  post(url: string, form: Record<string, string> | URLSearchParams): Promise<BrowserAnswer> {
    return this.#request(url, new URLSearchParams(form));
  }

  /** Opens an address and follows redirects for as long as they lead to the server itself. */
  async follow(url: string): Promise<BrowserAnswer> {
    let answer = await this.get(url);
    for (let hops = 0; hops < 10 && answer.location?.startsWith(this.#publicBase) === true; hops++) {
      answer = await this.get(answer.location);
    }
    return answer;
  }

  async #request(url: string, body: URLSearchParams | null): Promise<BrowserAnswer> {
    const target = url.startsWith(this.#publicBase) ? url.slice(this.#publicBase.length) : url.replace(/^\//, "");
    const path = `/${target.split("?", 1)[0]}`;
    const cookie = [...this.#cookies]
      .filter(([, { path: prefix }]) => path === prefix || path.startsWith(prefix.replace(/\/?$/, "/")))
      .map(([name, { value }]) => `${name}=${value}`).join("; ");
    const method = body === null ? "GET" : "POST";
    const response = await fetch(`${this.#base}/${target}`, {
      method,
      redirect: "manual",
      headers: { ...(cookie === "" ? {} : { cookie }) },
      ...(body === null ? {} : { body }),
    });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    const { status, headers } = response;
    noteAnswer({ method, path, status });
    return { status, headers, text: await response.text(), location: headers.get("location") };
  }

  #keep(line: string): void {
    const [pair = "", ...flags] = line.split(";").map((part) => part.trim());
    const [name = "", ...value] = pair.split("=");
    const flag = (key: string) => flags.find((item) => item.startsWith(`${key}=`))?.slice(key.length + 1);
    if (flag("Max-Age") === "0") this.#cookies.delete(name);
    else this.#cookies.set(name, { value: value.join("="), path: flag("Path") ?? "/" });
  }
}
