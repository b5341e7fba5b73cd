/** A provider that speaks CAS. Spec: CAS Protocol 3.0, https://apereo.github.io/cas/development/protocol/CAS-Protocol-Specification.html */
import { Parser } from "htmlparser2";
import type { SendBounded } from "../../lib/bounded_request.ts";
import { assertAttributes, type AttributeRequirement } from "./attribute_requirements.ts";
import { localpartFrom } from "./attribute_templates.ts";
import {
  type Arrival,
  type Departure,
  type IdentityProvider,
  type ProviderInfo,
  providerUnavailable,
  SsoError,
  type SsoPurpose,
} from "./identity_provider.ts";
import type { SealedStates } from "./sealed_state.ts";

/** Options of the configuration, by Synapse's names. */
export interface CasOptions {
  readonly info: ProviderInfo;
  readonly serverUrl: string;
  readonly protocolVersion: number | null;
  readonly displaynameAttribute: string | null;
  readonly requiredAttributes: readonly AttributeRequirement[];
  readonly enableRegistration: boolean;
  /** Put before names that are numbers; null where such names are refused. */
  readonly numericIdsPrefix: string | null;
  /** Where people come back with their ticket. */
  readonly ticketUrl: string;
}

/** What the provider is built from. */
export interface CasProviderDeps {
  readonly options: CasOptions;
  readonly send: SendBounded;
  readonly states: SealedStates;
  /** Makes the cookies of a sealed state. */
  readonly cookies: (sealed: string) => readonly string[];
}

/** What the server says of whoever brought a ticket. */
interface CasUser {
  readonly name: string;
  readonly attributes: Readonly<Record<string, readonly string[]>>;
}

/** The kind of state that a browser keeps. */
export const CAS_STATE = "cas";
const MAX_NAME_LENGTH = 255;

/** The CAS server. */
export class CasProvider implements IdentityProvider {
  readonly #deps: CasProviderDeps;

  constructor(deps: CasProviderDeps) {
    this.#deps = deps;
  }

  get info(): ProviderInfo {
    return this.#deps.options.info;
  }

  depart(purpose: SsoPurpose): Promise<Departure> {
    const { options, states, cookies } = this.#deps;
    const query = new URLSearchParams({ service: this.#serviceOf(purpose) });
    return Promise.resolve({
      location: `${options.serverUrl}/login?${query}`,
      cookies: cookies(states.seal(CAS_STATE, { ...purpose })),
    });
  }

  /** Takes somebody back who brings a ticket. Throws `SsoError`. */
  async arrive(purpose: SsoPurpose, ticket: string): Promise<Arrival> {
    const { options } = this.#deps;
    const { name, attributes } = await this.#validate(ticket, this.#serviceOf(purpose));
    if (purpose.kind === "login") assertAttributes(attributes, options.requiredAttributes);
    const localpart = localpartFrom(name);
    const displayName = attributes[options.displaynameAttribute ?? ""]?.[0] ?? null;
    return {
      ...{ provider: this.info, purpose, externalId: name, authSession: null, extra: {} },
      mayRegister: options.enableRegistration,
      attributes: (failures) => {
        if (failures > 0) throw new SsoError("mapping_error", "The name of your account is taken.");
        return Promise.resolve({ localpart, confirmLocalpart: false, displayName, picture: null, emails: [] });
      },
      // A CAS server has one user of a name, who is the user of that name here.
      ownsAccount: () => Promise.resolve(localpart),
    };
  }

  /** The service that a ticket is for: where people come back, with what they come for. */
  #serviceOf(purpose: SsoPurpose): string {
    const query = purpose.kind === "login" ? { redirectUrl: purpose.redirectUrl } : { session: purpose.uiaSession };
    return `${this.#deps.options.ticketUrl}?${new URLSearchParams(query)}`;
  }

  async #validate(ticket: string, service: string): Promise<CasUser> {
    const { options: { serverUrl, protocolVersion, numericIdsPrefix }, send } = this.#deps;
    const path = protocolVersion === 3 ? "/p3/proxyValidate" : "/proxyValidate";
    const { status, text } = await send(`${serverUrl}${path}?${new URLSearchParams({ ticket, service })}`)
      .catch((error: unknown) => {
        throw providerUnavailable(error);
      });
    if (status !== 200) {
      throw new SsoError("server_error", `The login provider answered ${status} when it was asked about you.`);
    }
    const user = parseAnswer(text);
    const isNumber = /^[0-9]+$/.test(user.name);
    return { ...user, name: isNumber && numericIdsPrefix !== null ? `${numericIdsPrefix}${user.name}` : user.name };
  }
}

/** Reads a `serviceResponse`. Throws for one that lets nobody in. */
function parseAnswer(text: string): CasUser {
  const path: string[] = [];
  const texts = new Map<string, string[]>();
  let current = "";
  const parser = new Parser({
    onopentagname(name) {
      path.push(name.split(":").at(-1) ?? "");
      current = "";
      if (path.length > 20) throw new SsoError("invalid_response", "The login provider's answer cannot be read.");
    },
    ontext(part) {
      current += part;
    },
    onclosetag() {
      const key = path.join("/");
      texts.set(key, [...texts.get(key) ?? [], current.trim()]);
      current = "";
      path.pop();
    },
  }, { xmlMode: true });
  parser.end(text);
  const success = "serviceResponse/authenticationSuccess";
  if (!texts.has("serviceResponse")) {
    throw new SsoError("missing_service_response", "The login provider's answer cannot be read.", { status: 401 });
  }
  if (!texts.has(success)) {
    throw new SsoError("unsuccessful_response", "The login provider does not know you.", { status: 401 });
  }
  const [name = ""] = texts.get(`${success}/user`) ?? [];
  if (name === "" || name.length > MAX_NAME_LENGTH) {
    throw new SsoError("no_user", "The login provider does not say who you are.", { status: 401 });
  }
  const prefix = `${success}/attributes/`;
  const attributes = [...texts].filter(([key]) => key.startsWith(prefix) && !key.slice(prefix.length).includes("/"));
  return { name, attributes: Object.fromEntries(attributes.map(([key, value]) => [key.slice(prefix.length), value])) };
}
