/** What identity providers have in common, whatever protocol they speak. */
import type { JsonObject } from "../../protocol/json.ts";

/** How clients and pages show a provider. */
export interface ProviderInfo {
  /** Its id in paths, for example `oidc-keycloak`. */
  readonly id: string;
  readonly name: string;
  /** `mxc://` address of a picture. */
  readonly icon: string | null;
  /** What clients know it by, for example `github`. */
  readonly brand: string | null;
}

/** What somebody goes to a provider for: to log in, or to confirm a request in their name. */
export type SsoPurpose =
  | { readonly kind: "login"; readonly redirectUrl: string }
  | { readonly kind: "confirm"; readonly uiaSession: string };

/** Where a browser goes, and the cookies it takes along. */
export interface Departure {
  readonly location: string;
  readonly cookies: readonly string[];
}

/** Where people prove who they are. */
export interface IdentityProvider {
  readonly info: ProviderInfo;
  /** Sends somebody there; `query` is what their client asked with. Throws `SsoError` while that cannot be. */
  depart(purpose: SsoPurpose, query: URLSearchParams): Promise<Departure>;
}

/** What a provider says of a person, as the account here will have it. */
export interface SsoAttributes {
  /** Null where the person chooses. */
  readonly localpart: string | null;
  /** Whether the person may choose another name than that. */
  readonly confirmLocalpart: boolean;
  readonly displayName: string | null;
  readonly picture: string | null;
  readonly emails: readonly string[];
}

/** Somebody who came back from a provider. */
export interface Arrival {
  readonly provider: ProviderInfo;
  readonly purpose: SsoPurpose;
  /** Who they are there, for good. */
  readonly externalId: string;
  /** Their session there, where the provider tells when it ends. */
  readonly authSession: string | null;
  /** What the client is told beside its tokens. */
  readonly extra: JsonObject;
  /** What the account will have; asked again with a higher number while the name is taken. Throws `SsoError`. */
  readonly attributes: (failures: number) => Promise<SsoAttributes>;
  /** The name of the account that is theirs although nobody has noted that yet; null where there is no such rule. */
  readonly ownsAccount: (() => Promise<string | null>) | null;
  readonly mayRegister: boolean;
}

/** What a page says to somebody whose login failed. */
export class SsoError extends Error {
  override readonly name = "SsoError";
  /** For programs and for whoever helps, for example `mismatching_session`. */
  readonly code: string;
  readonly status: number;

  constructor(code: string, description: string, { status = 400, cause }: { status?: number; cause?: unknown } = {}) {
    super(description, { cause });
    this.code = code;
    this.status = status;
  }
}

/** The provider cannot be reached, or is not set up as it must be. */
export function providerUnavailable(cause: unknown): SsoError {
  const description = "This login provider is currently unavailable on this homeserver.";
  return new SsoError("provider_unavailable", description, { status: 503, cause });
}
