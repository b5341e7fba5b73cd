/** Logins at identity providers, put together. */
import { userAgentOf } from "../config/user_agent.ts";
import { WebProxies } from "../federation/web_proxies.ts";
import { describeError } from "../lib/describe_error.ts";
import { getLogger } from "../lib/log.ts";
import type { Media } from "../media/media.ts";
import { AddressRules } from "../media/preview/address_rules.ts";
import type { Fetcher } from "../media/preview/fetcher.ts";
import { UrlRules } from "../media/preview/url_rules.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import { Sso } from "../services/sso/sso.ts";
import type { AccountParts } from "./accounts.ts";
import type { Core } from "./core.ts";
import { registrationTerms } from "./mail.ts";
import type { UsageParts } from "./usage.ts";

/** Logins at identity providers. */
export interface SsoParts {
  readonly sso: Sso;
  [Symbol.asyncDispose](): Promise<void>;
}

const PICTURE_TIMEOUT_MS = 20_000;

/** Builds what logs people in who prove themselves elsewhere. */
export function buildSso(
  core: Core,
  { accounts, media, usage }: { accounts: AccountParts; media: Media; usage: UsageParts },
): SsoParts {
  const { config, db, clock, sso: { all: providers } } = core;
  const { profiles, devices, registration, tokens, uia } = accounts;
  const pictures = new Pictures(core, media);
  const set = (userId: UserId, change: { key: string; value: string }): Promise<void> =>
    profiles.setField({ requester: actingFor(userId), userId, ...change });
  const sso = new Sso({
    ...{ db, clock, providers, accounts: accounts.accounts, devices, registration, tokens, uia },
    log: getLogger("synapse.handlers.sso"),
    options: {
      ...config.sso.sso,
      // The page for clients without a login of their own gives the token to nobody but itself.
      clientWhitelist: [...config.sso.sso.clientWhitelist ?? [], `${config.publicBaseurl}_matrix/static/client/login`],
      termsVersion: registrationTerms(config)?.version ?? null,
    },
    profileOf: (userId) => profiles.memberProfile(userId),
    setDisplayName: (userId, value) => set(userId, { key: "displayname", value: value.slice(0, 256) }),
    setPicture: async (userId, url) => set(userId, { key: "avatar_url", value: await pictures.store(userId, url) }),
    onTermsAccepted: async ({ userId, version }) => {
      await db.transaction(async (tx) => {
        await usage.consent?.record(tx, { userId, version, now: clock.now() });
      });
    },
  });
  return { sso, [Symbol.asyncDispose]: () => pictures[Symbol.asyncDispose]() };
}

/** What a provider says of somebody holds whatever users may change by themselves. */
function actingFor(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: true, isShadowBanned: false, appserviceId: null };
}

/** Fetches the pictures that providers name, within the rules for addresses. */
class Pictures implements AsyncDisposable {
  readonly #core: Core;
  readonly #media: Media;
  #fetcher: Promise<Fetcher> | null = null;

  constructor(core: Core, media: Media) {
    this.#core = core;
    this.#media = media;
  }

  /** Stores a picture as the user's upload and returns its address. Throws for what is none. */
  async store(userId: UserId, url: string): Promise<string> {
    const fetcher = await (this.#fetcher ??= this.#open());
    const signal = AbortSignal.timeout(PICTURE_TIMEOUT_MS);
    const { contentType, body } = await fetcher.fetch(new URL(url), { signal, accept: "image/*" });
    const { maxAvatarSize, allowedAvatarMimetypes } = this.#core.config.blocking;
    const type = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
    if (!(allowedAvatarMimetypes?.includes(type) ?? type.startsWith("image/"))) {
      await body.cancel();
      throw new Error(`"${type.slice(0, 100)}" is no type that pictures may have`);
    }
    return await this.#media.uploads.upload({
      ...{ userId, contentType: type, uploadName: null, declaredLength: null },
      body: maxAvatarSize === null ? body : body.pipeThrough(atMost(maxAvatarSize)),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const fetcher = await this.#fetcher?.catch((error: unknown) => void describeError(error));
    await fetcher?.[Symbol.asyncDispose]();
  }

  async #open(): Promise<Fetcher> {
    const { Fetcher } = await import("../media/preview/fetcher.ts");
    const { config } = this.#core;
    return new Fetcher({
      addresses: new AddressRules({ denied: config.server.ipRangeBlacklist, allowed: config.server.ipRangeWhitelist }),
      urls: new UrlRules([]),
      acceptLanguage: ["en"],
      userAgent: userAgentOf(config),
      proxies: new WebProxies(config.server),
    });
  }
}

function atMost(maxBytes: number): TransformStream<Uint8Array, Uint8Array> {
  let length = 0;
  return new TransformStream({
    transform(chunk, controller) {
      length += chunk.length;
      if (length > maxBytes) controller.error(new Error(`the picture has more than ${maxBytes} bytes`));
      else controller.enqueue(chunk);
    },
  });
}
