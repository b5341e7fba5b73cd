/**
 * Inviting people by their addresses. Spec: client-server API, "Third-party invites"; server-server API, the same.
 *
 * Where an identity server knows the user of an address, they are invited. Else it keeps the invitation, and the room gets
 * an event that says so. Once somebody has the address, the identity server signs that, and the server of whoever invited
 * makes an invitation of it: at the word of the user's server, or of the user who joins with the signature.
 */
import { IdentityServerError, type IdentityServers, type StoredInvite } from "../federation/identity_servers.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { RemoteMembership } from "../federation/remote_membership.ts";
import type { Logger } from "../lib/log.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import { thirdPartyInviteKeys } from "../protocol/auth_rules_context.ts";
import { forbidden, MatrixError } from "../protocol/errors.ts";
import { type RoomId, type ServerName, serverNameOf } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import type { RoomEngine } from "../rooms/engine.ts";
import type { ProfileSource } from "../rooms/engine_deps.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import { type SignedInvite, THIRD_PARTY_INVITE_TYPE } from "../rooms/third_party_invites.ts";
import type { Requester } from "../rooms/types.ts";

/** What invitations by address are made with. */
export interface ThirdPartyInvitesDeps {
  readonly serverName: ServerName;
  readonly engine: RoomEngine;
  readonly state: StateReader;
  readonly profiles: ProfileSource;
  readonly identityServers: IdentityServers;
  readonly remote: Pick<RemoteMembership, "exchangeThirdPartyInvite">;
  /** `email.invite_client_location`; null leaves it to the identity server. */
  readonly webClientLocation: string | null;
  /** `enable_3pid_lookup`. */
  readonly isEnabled: boolean;
  readonly log: Logger;
}

/** An address to invite, and whom to ask for it. */
export interface AddressInvite {
  readonly roomId: RoomId;
  readonly idServer: string;
  /** Secret. */
  readonly idAccessToken: string;
  readonly medium: string;
  readonly address: string;
}

/** Invites people by their addresses. */
export class ThirdPartyInvites {
  readonly #deps: ThirdPartyInvitesDeps;

  constructor(deps: ThirdPartyInvitesDeps) {
    this.#deps = deps;
  }

  /** Invites whoever has an address, be they known or not. */
  async invite(requester: Requester, invite: AddressInvite): Promise<void> {
    const { engine, identityServers, isEnabled, webClientLocation } = this.#deps;
    const { roomId, idServer: server, idAccessToken: token, medium } = invite;
    // Spec: appendices, "3PID Types": mail addresses are compared without regard to case.
    const address = medium === "email" ? invite.address.toLowerCase() : invite.address;
    if (!isEnabled) {
      throw new MatrixError(403, "M_THREEPID_DENIED", "Invitations by e-mail or phone number are not enabled");
    }
    if (requester.isShadowBanned) return;
    await engine.assertMayInviteAddress(requester, { roomId });
    const userId = await asked(server, () => identityServers.lookUp({ server, token }, { medium, address }));
    if (userId !== null) {
      await engine.invite(requester, { roomId, userId });
      return;
    }
    const body = {
      medium,
      address,
      room_id: roomId,
      sender: requester.userId,
      ...await this.#describe(requester, roomId),
      // The identity server sends the mail; with this it leads to the operator's client.
      ...(webClientLocation === null ? {} : { "org.matrix.web_client_location": webClientLocation }),
    };
    const stored = await asked(server, () => identityServers.storeInvite({ server, token }, body));
    await engine.sendEvent(requester, {
      ...{ roomId, type: THIRD_PARTY_INVITE_TYPE, stateKey: stored.token, txnId: null },
      content: contentOf(stored),
    });
  }

  /** Invites to a room that is new. It is there, whoever cannot be invited. */
  async inviteAll(requester: Requester, invites: readonly AddressInvite[]): Promise<void> {
    for (const invite of invites) {
      try {
        await this.invite(requester, invite);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        const { roomId, idServer } = invite;
        this.#deps.log.info("An address could not be invited to a new room", {
          roomId,
          idServer,
          reason: error.message,
        });
      }
    }
  }

  /** Lets a signed invitation become one of the user, here or at the server of whoever invited. */
  async exchange(invite: SignedInvite): Promise<void> {
    const { roomId, sender, target, signed } = invite;
    if (domainOf(sender) === this.#deps.serverName) return await this.#exchangeHere(invite);
    const event = {
      ...{ type: "m.room.member", room_id: roomId, sender, state_key: target },
      content: { membership: "invite", third_party_invite: { display_name: target, signed } },
    };
    try {
      await this.#deps.remote.exchangeThirdPartyInvite(serverNameOf(sender), { roomId, event });
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      if (error.status === 403) throw forbidden("The server of the inviter refuses the third-party invite");
      throw new MatrixError(502, "M_UNKNOWN", `The server of the inviter could not help: ${error.message}`);
    }
  }

  /** Takes in what an identity server tells of a user's new address: each invitation stands for itself. */
  async bound(invites: readonly SignedInvite[]): Promise<void> {
    for (const invite of invites) {
      try {
        await this.exchange(invite);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        const { roomId, target: userId } = invite;
        this.#deps.log.info("A third-party invite could not be taken", { roomId, userId, reason: error.message });
      }
    }
  }

  async #exchangeHere(invite: SignedInvite): Promise<void> {
    const { engine, state } = this.#deps;
    const { roomId, sender, signed, token } = invite;
    const root = (await engine.localJoinedUsers(roomId)).size > 0 ? await state.currentRoot(roomId) : null;
    const issued = root === null ? null : await state.get(root, THIRD_PARTY_INVITE_TYPE, token);
    if (issued === null) throw forbidden("The room has no such third-party invite");
    if (issued.event.sender !== sender) throw forbidden("The third-party invite was issued by another user");
    await this.#assertSigned(signed, issued.event.content);
    await engine.exchangeInvite(invite);
  }

  /** Spec: the server of whoever invited "MUST verify" that the key which signed is good still, by the URL beside it. */
  async #assertSigned(signed: JsonObject, content: Readonly<JsonObject>): Promise<void> {
    const urls = validityUrls(content);
    const signing = thirdPartyInviteKeys(content).filter((key) =>
      verifyThirdPartyInvite({ signed, publicKeys: [key] })
    );
    if (signing.length === 0) throw forbidden("The signature of the third-party invite is not valid");
    let failure: unknown = null;
    for (const key of signing) {
      const url = urls.get(key);
      // Spec: a key without the URL "must be considered valid indefinitely".
      if (url === undefined) return;
      try {
        if (await this.#deps.identityServers.isKeyValid(url, key)) return;
      } catch (error) {
        if (!(error instanceof IdentityServerError)) throw error;
        failure = error;
      }
    }
    if (failure !== null) {
      this.#deps.log.info("The key of a third-party invite could not be checked", { error: failure });
    }
    throw forbidden("The key that signed the third-party invite is not valid any more");
  }

  /** What the message to the invited person may say of the room and of who invites. */
  async #describe({ userId }: Requester, roomId: RoomId): Promise<JsonObject> {
    const { state, profiles } = this.#deps;
    const root = await state.currentRoot(roomId) ?? 0;
    const read = async (type: string, key: string) => (await state.get(root, type, ""))?.event.content[key];
    const profile = await profiles.get(userId);
    const described = {
      room_alias: await read("m.room.canonical_alias", "alias"),
      room_avatar_url: await read("m.room.avatar", "url"),
      room_join_rules: await read("m.room.join_rules", "join_rule"),
      room_name: await read("m.room.name", "name"),
      room_type: await read("m.room.create", "type"),
      sender_display_name: profile?.displayname,
      sender_avatar_url: profile?.avatarUrl,
    };
    return Object.fromEntries(
      Object.entries(described).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  }
}

/** The content of the event that stands for the invited person. Spec: `m.room.third_party_invite`. */
function contentOf({ displayName, keys }: StoredInvite): JsonObject {
  const [first] = keys;
  return {
    display_name: displayName,
    ...(first === undefined ? {} : { public_key: first.publicKey, key_validity_url: first.keyValidityUrl }),
    public_keys: keys.map(({ publicKey, keyValidityUrl }) => ({
      public_key: publicKey,
      key_validity_url: keyValidityUrl,
    })),
  };
}

function validityUrls(content: Readonly<JsonObject>): Map<string, string> {
  const listed = Array.isArray(content["public_keys"]) ? content["public_keys"] : [];
  const pairs = [content, ...listed].filter(isJsonObject).flatMap(({ public_key: key, key_validity_url: url }) =>
    typeof key === "string" && typeof url === "string" ? [[key, url] as const] : []
  );
  return new Map(pairs);
}

/** Says to the client what an identity server says, but for what would end their session here. */
async function asked<T>(server: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    if (!(error instanceof IdentityServerError)) throw error;
    const { status, body } = error;
    const errcode = body?.["errcode"];
    const text = typeof body?.["error"] === "string" ? body["error"].slice(0, 500) : error.message;
    if (status === 401) throw forbidden(`The identity server "${server}" does not accept the access token`);
    if ((status === 400 || status === 403) && typeof errcode === "string") {
      throw new MatrixError(status, errcode as "M_FORBIDDEN", text);
    }
    throw new MatrixError(502, "M_UNKNOWN", `The identity server "${server}" could not help: ${error.message}`);
  }
}
