/** Logins at an identity provider, as tests go through them. */
import assert from "node:assert/strict";
import type { Clock } from "../../src/lib/clock.ts";
import { Browser, type BrowserAnswer } from "./browser.ts";
import type { Json } from "./client.ts";
import type { TestDatabase } from "./databases.ts";
import { CLIENT_ID, type LoginChanges, StubOidcProvider } from "./oidc_provider.ts";
import { TestServer } from "./server.ts";

/** The public address of the server. */
export const PUBLIC = "https://hs.test/";
/** Where the client wants its user back. */
export const CLIENT = "https://app.example/login?lang=en";
/** Templates of the stub provider. */
export const MAPPING = {
  config: { localpart_template: "{{ user.preferred_username }}", display_name_template: "{{ user.name }}" },
};
/** What the stub provider says of a person. */
export const FRIEDA = { preferred_username: "Frieda", name: "Frieda Kahlo" };

/** A server, its provider and a browser. */
export interface SsoSite extends AsyncDisposable {
  readonly hs: TestServer;
  readonly idp: StubOidcProvider;
  readonly browser: Browser;
  /** Goes from the client through the provider and back. */
  readonly logIn: (changes?: LoginChanges, options?: { browser?: Browser; query?: string }) => Promise<BrowserAnswer>;
  readonly newBrowser: () => Browser;
}

/** Starts a server with one provider, `oidc-stub`. */
export async function setUp(
  database: TestDatabase,
  { provider = () => ({}), more = [], config = {}, clock }: {
    /** How the provider's options differ; null leaves it out. */
    provider?: (idp: StubOidcProvider) => Json;
    more?: Json[];
    config?: Json;
    clock?: Clock;
  } = {},
): Promise<SsoSite> {
  const idp = new StubOidcProvider();
  const changes = provider(idp);
  const options = {
    ...{ idp_id: "stub", idp_name: "Stub <&>", issuer: idp.issuer, client_id: CLIENT_ID, client_secret: "s3cret/+" },
    ...{ user_mapping_provider: MAPPING, ...changes },
  };
  const hs = await TestServer.start({
    ...{ database, ...(clock && { clock }) },
    config: { oidc_providers: [...(changes === null ? [] : [options]), ...more], ...config },
  });
  const newBrowser = () => new Browser({ publicBase: PUBLIC, base: hs.base });
  const browser = newBrowser();
  const logIn: SsoSite["logIn"] = async (changes = {}, { browser: own = browser, query = "" } = {}) => {
    const redirectUrl = encodeURIComponent(CLIENT);
    const departure = await own.follow(
      `_matrix/client/v3/login/sso/redirect/oidc-stub?redirectUrl=${redirectUrl}${query}`,
    );
    assert.equal(departure.status, 302, departure.text);
    return await own.follow(idp.logIn(departure.location ?? "", { claims: FRIEDA, ...changes }));
  };
  return {
    ...{ hs, idp, browser, logIn, newBrowser },
    async [Symbol.asyncDispose]() {
      await hs[Symbol.asyncDispose]();
      await idp[Symbol.asyncDispose]();
    },
  };
}

/** Returns the login token of the link on the page that asks whether to go on. */
export function tokenOn({ status, text }: BrowserAnswer): string {
  assert.equal(status, 200, text);
  const link = /href="(https:\/\/app\.example\/login[^"]*)"/.exec(text)?.[1]?.replaceAll("&amp;", "&");
  assert.ok(link, text);
  const url = new URL(link);
  assert.equal(url.searchParams.get("lang"), "en");
  return url.searchParams.get("loginToken") ?? "";
}

/** Logs in with a login token. */
export async function useToken(hs: TestServer, token: string): Promise<Json> {
  return await hs.anyone.post("/login", { type: "m.login.token", token });
}

/** Returns what the page of an error says. */
export function errorOn(answer: BrowserAnswer): { status: number; code: string | undefined } {
  return { status: answer.status, code: /class="error">([^<]*)</.exec(answer.text)?.[1] };
}
