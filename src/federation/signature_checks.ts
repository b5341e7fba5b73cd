/** Checks signatures with the keys of the key ring: of requests, of JSON and of events. */
import type { RoomEvent } from "../protocol/event.ts";
import { requiredSigners } from "../protocol/auth_rules_signers.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { signatureKeyIds, verifyEventSignature, verifyJson, verifyText } from "../protocol/signatures.ts";
import type { KeyRing } from "./key_ring.ts";
import { type SignedRequest, signedRequestText, type XMatrix } from "./x_matrix.ts";

/** What may be wrong with the signature of a request. */
export type RequestSignature = "good" | "bad signature" | "no key";

const MAX_SIGNATURES = 10;

/** Checks signatures. */
export class SignatureChecks {
  readonly #keys: KeyRing;

  constructor(keys: KeyRing) {
    this.#keys = keys;
  }

  /** Tells whether the key of one of the credentials is there and in use, fetching it if need be. */
  async hasKey(origin: ServerName, credentials: readonly XMatrix[]): Promise<boolean> {
    for (const { key: keyId } of credentials) {
      if (await this.#keys.find({ serverName: origin, keyId, use: "request", validAt: null }) !== null) return true;
    }
    return false;
  }

  /** Tells whether one of the credentials, all of `origin`, is a good signature of the request. */
  async request(
    request: SignedRequest,
    { origin, credentials }: { origin: ServerName; credentials: readonly XMatrix[] },
  ): Promise<RequestSignature> {
    let outcome: RequestSignature = "no key";
    for (const { key: keyId, signature, destination } of credentials) {
      const key = await this.#keys.find({ serverName: origin, keyId, use: "request", validAt: null });
      if (key === null) continue;
      // Servers of before 1.3 leave the destination out of what they sign as well.
      const text = signedRequestText({ ...request, destination }, origin);
      if (verifyText(text, { signature, key })) return "good";
      outcome = "bad signature";
    }
    return outcome;
  }

  /** Tells whether the object has a good signature of that server, by a key that is in use now. */
  async json(object: Readonly<JsonObject>, serverName: ServerName): Promise<boolean> {
    for (const keyId of signatureKeyIds(object, serverName).slice(0, MAX_SIGNATURES)) {
      const key = await this.#keys.find({ serverName, keyId, use: "request", validAt: null });
      if (key !== null && verifyJson(object, { serverName, keyId, key })) return true;
    }
    return false;
  }

  /** Returns null when all who must have signed the event did, else which server's signature is missing or bad. */
  async event(event: RoomEvent): Promise<ServerName | null> {
    for (const serverName of requiredSigners(event)) {
      if (!await this.eventBy(event, serverName)) return serverName;
    }
    return null;
  }

  /** Tells whether the event has a good signature of that server, by a key that was valid when the event was made. */
  async eventBy(event: RoomEvent, serverName: ServerName): Promise<boolean> {
    const { rules, pdu } = event;
    const validAt = rules.enforceKeyValidity ? event.originServerTs : null;
    for (const keyId of signatureKeyIds(pdu, serverName).slice(0, MAX_SIGNATURES)) {
      const key = await this.#keys.find({ serverName, keyId, use: "event", validAt });
      if (key !== null && verifyEventSignature(pdu, { rules, serverName, keyId, key })) return true;
    }
    return false;
  }
}
