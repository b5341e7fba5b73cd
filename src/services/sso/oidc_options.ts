/** Options of a provider that speaks OpenID Connect or OAuth 2.0, by Synapse's names. */
import type { AttributeRequirement } from "./attribute_requirements.ts";
import type { ProviderInfo } from "./identity_provider.ts";

/** A client secret that is made when needed, as Apple wants it. */
export interface SecretKey {
  /** A private key as PEM. */
  readonly key: string;
  readonly jwtHeader: Readonly<Record<string, unknown>>;
  readonly jwtPayload: Readonly<Record<string, unknown>>;
}

/** One provider. */
export interface OidcOptions {
  readonly info: ProviderInfo;
  readonly discover: boolean;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string | SecretKey | null;
  readonly clientAuthMethod: "client_secret_basic" | "client_secret_post" | "none";
  readonly pkceMethod: "auto" | "always" | "never";
  readonly idTokenSigningAlgValuesSupported: readonly string[] | null;
  readonly scopes: readonly string[];
  readonly authorizationEndpoint: string | null;
  readonly tokenEndpoint: string | null;
  readonly userinfoEndpoint: string | null;
  readonly jwksUri: string | null;
  readonly skipVerification: boolean;
  readonly userProfileMethod: "auto" | "userinfo_endpoint";
  /** Where the provider sends people back to. */
  readonly callbackUrl: string;
  readonly additionalAuthorizationParameters: Readonly<Record<string, string>>;
  readonly passthroughAuthorizationParameters: readonly string[];
  readonly allowExistingUsers: boolean;
  readonly enableRegistration: boolean;
  readonly attributeRequirements: readonly AttributeRequirement[];
  readonly backchannelLogoutEnabled: boolean;
  readonly backchannelLogoutIgnoreSub: boolean;
}

/** Tells whether a person is asked about by their access token and not read from the token about their identity. */
export function usesUserinfo({ scopes, userProfileMethod }: OidcOptions): boolean {
  return !scopes.includes("openid") || userProfileMethod === "userinfo_endpoint";
}
