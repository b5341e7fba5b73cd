/** An identity server as far as invitations need one. Spec: Identity Service API. */
import { createHash, randomBytes } from "node:crypto";
import { type SigningKey, signingKeyFromSeed, signJson } from "../../src/protocol/signatures.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { ServerName } from "../../src/protocol/ids.ts";
import { type Peer, type PeerAnswer, type SeenRequest, startPeer } from "./peer.ts";

/** A running identity server. */
export interface IdentityServer extends AsyncDisposable {
  readonly name: string;
  readonly peer: Peer;
  /** Users by address. */
  readonly bound: Map<string, string>;
  /** What was stored, the last at the end. */
  readonly stored: (JsonObject & { readonly token: string })[];
  /** Keys that are not good any more, in base64. */
  readonly revoked: Set<string>;
  readonly key: SigningKey;
  /** Signs that a user has the address of an invitation. */
  sign(signed: JsonObject): JsonObject;
}

const TOKEN = "secret-of-the-user";
const PEPPER = "salt";

/** Starts one that takes the token `secret-of-the-user`. */
export async function startIdentityServer(): Promise<IdentityServer> {
  const peer = await startPeer({ names: ["DNS:id.test"] });
  const name = `id.test:${peer.port}`;
  const key = signingKeyFromSeed("0", randomBytes(32));
  const server: IdentityServer = {
    ...{ name, peer, key, bound: new Map(), stored: [], revoked: new Set() },
    sign: (signed) => signJson(signed, { serverName: "id.test" as ServerName, key }),
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
  peer.handler = (request) => answer(server, request);
  return server;
}

function answer(server: IdentityServer, { url, body, headers }: SeenRequest): PeerAnswer {
  const { pathname, searchParams } = new URL(url, "https://id.test");
  if (pathname === "/_matrix/identity/v2/pubkey/isvalid") {
    return { json: { valid: !server.revoked.has(searchParams.get("public_key") ?? "") } };
  }
  if (headers["authorization"] !== `Bearer ${TOKEN}`) return { status: 401, json: { errcode: "M_UNAUTHORIZED" } };
  if (pathname === "/_matrix/identity/v2/hash_details") {
    return { json: { algorithms: ["none", "sha256"], lookup_pepper: PEPPER } };
  }
  const given = JSON.parse(body);
  if (pathname === "/_matrix/identity/v2/lookup") {
    const hashes = new Map([...server.bound].map(([address, userId]) => {
      return [createHash("sha256").update(`${address} email ${PEPPER}`).digest("base64url"), userId];
    }));
    const [wanted] = given.addresses;
    return { json: { mappings: hashes.has(wanted) ? { [wanted]: hashes.get(wanted) } : {} } };
  }
  if (given.medium !== "email") return { status: 400, json: { errcode: "M_UNRECOGNIZED", error: "Only mail" } };
  const token = `token${server.stored.length}`;
  server.stored.push({ ...given, token });
  const validity = `https://${server.name}/_matrix/identity/v2/pubkey/isvalid`;
  const keys = [{ public_key: server.key.verifyKey.base64, key_validity_url: validity }];
  return { json: { token, public_keys: keys, display_name: "c...@e..." } };
}
