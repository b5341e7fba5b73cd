/**
 * For each operation the requests that hostile ones are made of: as real as possible, so that what is wrong is met deep
 * inside. An operation that is not listed gets a body made from its schema.
 */
import type { Json, TestClient } from "../harness/client.ts";
import { crossSigningIdentity, type DeviceIdentity, deviceIdentity } from "../harness/e2ee.ts";
import { type Operation, referredSchema, type Schema } from "../harness/openapi.ts";
import { EXTRA_CASES } from "./extra_operations.ts";
import type { GoodRequest } from "./requests.ts";
import type { World } from "./world.ts";

/** A request of an operation where it differs from the usual one. */
export interface Case {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Json;
}

/** Requests that may leave nothing to be hostile to: the world is put right again before each. */
export const DESTRUCTIVE: ReadonlySet<string> = new Set([
  ...["ban", "deactivateAccount", "deleteDevice", "deleteDevices", "deleteRoomKeysVersion", "forgetRoom", "kick"],
  ...["leaveRoom", "logout", "logout_all", "setRoomStateWithKey", "unban", "upgradeRoom", "changePassword"],
  ...["setAdminLockUser", "setAdminSuspendUser"],
]);

function messages({ ids: { eventId }, bob }: World): Case[] {
  const text = { msgtype: "m.text", body: "text", format: "org.matrix.custom.html", formatted_body: "<b>text</b>" };
  const relates = (rel_type: string, more: Json = {}) => ({ "m.relates_to": { rel_type, event_id: eventId, ...more } });
  const contents: Record<string, Json[]> = {
    "m.room.message": [
      { ...text, "m.mentions": { user_ids: [bob.userId], room: true } },
      { ...text, "m.new_content": text, ...relates("m.replace") },
      { ...text, ...relates("m.thread", { is_falling_back: true, "m.in_reply_to": { event_id: eventId } }) },
    ],
    "m.reaction": [relates("m.annotation", { key: "👍" })],
    "m.room.redaction": [{ redacts: eventId, reason: "spam" }],
    "m.room.encrypted": [{
      algorithm: "m.megolm.v1.aes-sha2",
      ciphertext: "x",
      session_id: "s",
      ...relates("m.reference"),
    }],
  };
  return Object.entries(contents).flatMap(([eventType, bodies]) =>
    bodies.map((body) => ({ params: { eventType }, body }))
  );
}

function states({ alice, bob, ids: { alias, roomId, eventId } }: World): Case[] {
  const levels = {
    users: { [bob.userId]: 50 },
    events: { "m.room.name": 50 },
    notifications: { room: 50 },
    ...Object.fromEntries(
      ["ban", "kick", "invite", "redact", "events_default", "users_default"].map((key) => [key, 0]),
    ),
    state_default: 50,
  };
  const contents: Record<string, Json> = {
    "m.room.power_levels": levels,
    "m.room.join_rules": { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: roomId }] },
    "m.room.canonical_alias": { alias, alt_aliases: [alias] },
    "m.room.name": { name: "name" },
    "m.room.topic": { topic: "topic", "m.topic": { "m.text": [{ body: "topic", mimetype: "text/plain" }] } },
    "m.room.avatar": { url: "mxc://hs.test/abc", info: { w: 1, h: 1, size: 1, mimetype: "image/png" } },
    "m.room.history_visibility": { history_visibility: "world_readable" },
    "m.room.guest_access": { guest_access: "can_join" },
    "m.room.encryption": { algorithm: "m.megolm.v1.aes-sha2", rotation_period_ms: 1, rotation_period_msgs: 1 },
    "m.room.server_acl": { allow: ["*"], deny: ["evil.example"], allow_ip_literals: false },
    "m.room.tombstone": { body: "moved", replacement_room: roomId },
    "m.room.pinned_events": { pinned: [eventId] },
    "m.room.create": { room_version: "11", type: "m.space", predecessor: { room_id: roomId, event_id: eventId } },
    "m.room.third_party_invite": {
      display_name: "x",
      key_validity_url: "https://x",
      public_key: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    },
    "m.room.policy": { via: "hs.test", public_keys: { ed25519: "x" } },
    "m.space.child": { via: ["hs.test"], order: "a", suggested: true },
    "m.room.aliases": { aliases: [alias] },
    "org.example.any": { any: { thing: [1, "two", null] } },
  };
  const members = [
    { stateKey: alice.userId, body: { membership: "join", displayname: "A", avatar_url: "mxc://hs.test/abc" } },
    { stateKey: bob.userId, body: { membership: "ban", reason: "spam", third_party_invite: { signed: {} } } },
  ];
  return [
    ...Object.entries(contents).map(([eventType, body]) => ({ params: { eventType, stateKey: "" }, body })),
    ...members.map(({ stateKey, body }) => ({ params: { eventType: "m.room.member", stateKey }, body })),
  ];
}

function accountData({ ids: { eventId }, bob }: World): Case[] {
  const contents: Record<string, Json> = {
    "m.ignored_user_list": { ignored_users: { [bob.userId]: {} } },
    "m.direct": { [bob.userId]: ["!x:hs.test"] },
    "m.fully_read": { event_id: eventId },
    "m.invite_permission_config": { default_action: "block" },
    "m.push_rules": { global: {} },
    "m.tag": { tags: { "m.favourite": { order: 0.5 } } },
    "org.example.any": { any: { thing: [1, "two", null] } },
  };
  return Object.entries(contents).map(([type, body]) => ({ params: { type }, body }));
}

const FILTER = {
  event_fields: ["type", "content.body"],
  event_format: "client",
  presence: { limit: 1, types: ["m.presence"], not_senders: ["@x:hs.test"] },
  account_data: { limit: 1, not_types: ["m.direct"] },
  room: {
    rooms: ["!x:hs.test"],
    not_rooms: ["!y:hs.test"],
    include_leave: true,
    timeline: {
      limit: 2,
      types: ["m.*"],
      senders: ["@x:hs.test"],
      contains_url: true,
      unread_thread_notifications: true,
    },
    state: { lazy_load_members: true, include_redundant_members: true, types: ["m.room.*"] },
    ephemeral: { types: ["m.receipt"] },
  },
};

function createRooms({ alice, bob }: World): Case[] {
  const body = {
    ...{ visibility: "private", name: "name", topic: "topic", preset: "private_chat", is_direct: true },
    invite: [bob.userId],
    room_version: "11",
    creation_content: { "m.federate": false, type: "m.space" },
    initial_state: [{ type: "m.room.guest_access", state_key: "", content: { guest_access: "forbidden" } }],
    power_level_content_override: {
      users: { [alice.userId]: 100, [bob.userId]: 50 },
      events: { "m.room.name": 1 },
      invite: 10,
    },
  };
  const threepid = { id_server: "id.example", id_access_token: "x", medium: "email", address: "a@example.org" };
  return [{ body }, { body: { room_version: "12", preset: "public_chat", invite_3pid: [threepid] } }, { body: {} }];
}

function sessions({ ids: { roomId } }: World): { one: Json; room: Json; all: Json } {
  const data = { ephemeral: "x", ciphertext: "y", mac: "z" };
  const one = { first_message_index: 1, forwarded_count: 0, is_verified: true, session_data: data };
  return { one, room: { sessions: { s1: one } }, all: { rooms: { [roomId]: { sessions: { s1: one } } } } };
}

/** Keys are made once a world, because requests are made again for every case. */
const devices = new WeakMap<TestClient, DeviceIdentity>();

function identityOf(client: TestClient): DeviceIdentity {
  const known = devices.get(client) ?? deviceIdentity(client);
  devices.set(client, known);
  return known;
}

function keyUploads({ alice }: World): Case[] {
  const { key, keys } = identityOf(alice);
  const { userId, deviceId: name } = alice;
  const signed = (more: Json = {}) => key.signed({ key: key.publicKey, ...more }, { userId, name });
  const one_time_keys = { "signed_curve25519:AAAA": signed(), "curve25519:AAAB": key.publicKey };
  const fallback_keys = { "signed_curve25519:AAAC": signed({ fallback: true }) };
  return [{ body: { device_keys: keys, one_time_keys, fallback_keys } }, { body: { one_time_keys } }];
}

function searchBody({ ids: { roomId } }: World): Json {
  const criteria = {
    search_term: "hello",
    keys: ["content.body"],
    order_by: "recent",
    filter: { rooms: [roomId], limit: 5, types: ["m.room.message"] },
    event_context: { before_limit: 1, after_limit: 1, include_profile: true },
    include_state: true,
    groupings: { group_by: [{ key: "room_id" }] },
  };
  return { search_categories: { room_events: criteria } };
}

function joins({ alice: { userId } }: World): Case[] {
  const signatures = { "id.example": { "ed25519:0": "x" } };
  return [{ body: { reason: "x", third_party_signed: { sender: userId, mxid: userId, token: "x", signatures } } }];
}

/** The cases of the operations whose schema does not tell enough. */
const CASES: Readonly<Record<string, (world: World) => readonly Case[]>> = {
  claimKeys: ({ bob }) => [{
    body: { one_time_keys: { [bob.userId]: { [bob.deviceId]: "signed_curve25519" } }, timeout: 1 },
  }],
  createRoom: createRooms,
  defineFilter: () => [{ body: FILTER }],
  getEventContext: () => [{ query: { limit: "3", filter: JSON.stringify(FILTER.room.timeline) } }],
  getRoomEvents: ({ ids }) => [{
    query: { dir: "b", from: ids.since, limit: "3", filter: JSON.stringify(FILTER.room.state) },
  }],
  getRoomStateWithKey: () => [{ params: { eventType: "m.room.create", stateKey: "" } }],
  getEventByTimestamp: () => [{ query: { ts: "1000", dir: "f" } }],
  getKeysChanges: ({ ids }) => [{ query: { from: ids.since, to: ids.since } }],
  getMutualRooms: ({ bob }) => [{ query: { user_id: bob.userId } }],
  inviteBy3PID: () => [{
    body: { id_server: "127.0.0.1:1", id_access_token: "x", medium: "email", address: "a@example.org" },
  }],
  inviteUser: ({ admin }) => [{ body: { user_id: admin.userId, reason: "x" } }],
  joinRoom: joins,
  joinRoomById: joins,
  knockRoom: ({ ids }) => [{ params: { roomIdOrAlias: ids.knockRoomId }, body: { reason: "x" } }],
  login: ({ alice }) => [
    { body: { ...alice.auth(), device_id: "D", initial_device_display_name: "x", refresh_token: true } },
    { body: { type: "m.login.token", token: "x" } },
    { body: { type: "m.login.password", user: alice.userId, password: alice.password } },
    { body: { type: "m.login.application_service", identifier: { type: "m.id.user", user: "x" } } },
  ],
  changePassword: ({ alice }) => [{
    body: { new_password: alice.password, logout_devices: false, auth: alice.auth() },
  }],
  postReceipt: () => [{ params: { receiptType: "m.read" }, body: { thread_id: "main" } }],
  putRoomKeys: (world) => [{ body: sessions(world).all }],
  putRoomKeysByRoomId: (world) => [{ body: sessions(world).room }],
  putRoomKeyBySessionId: (world) => [{ body: sessions(world).one }],
  putRoomKeysVersion: ({ ids }) => [{
    body: {
      algorithm: "m.megolm_backup.v1.curve25519-aes-sha2",
      auth_data: { public_key: "y" },
      version: ids.backupVersion,
    },
  }],
  queryKeys: ({ alice, bob }) => [{ body: { device_keys: { [alice.userId]: [alice.deviceId], [bob.userId]: [] } } }],
  queryPublicRooms: () => [{ body: { limit: 2, filter: { generic_search_term: "a", room_types: [null, "m.space"] } } }],
  register: () => [
    { body: { username: "new", password: "secret password", auth: { type: "m.login.dummy" }, device_id: "D" } },
    { query: { kind: "guest" }, body: { initial_device_display_name: "x" } },
  ],
  search: (world) => [{ body: searchBody(world) }],
  sendMessage: messages,
  sendToDevice: ({ bob }) => [{ body: { messages: { [bob.userId]: { "*": { a: 1 }, [bob.deviceId]: { b: [] } } } } }],
  setAccountData: accountData,
  setAccountDataPerRoom: accountData,
  setProfileField: () => [
    { params: { keyName: "displayname" }, body: { displayname: "A" } },
    { params: { keyName: "avatar_url" }, body: { avatar_url: "mxc://hs.test/abc" } },
    { params: { keyName: "org.example.any" }, body: { "org.example.any": { a: [1] } } },
  ],
  setPushRule: ({ ids }) => [
    {
      params: { kind: "override", ruleId: "mine" },
      body: {
        actions: ["notify", { set_tweak: "sound", value: "default" }],
        conditions: [
          { kind: "event_match", key: "content.body", pattern: "a*" },
          { kind: "room_member_count", is: ">2" },
          { kind: "event_property_contains", key: "a.b", value: 1 },
        ],
      },
    },
    { params: { kind: "content", ruleId: "word" }, body: { actions: [], pattern: "word" } },
    { params: { kind: "room", ruleId: ids.roomId }, query: {}, body: { actions: ["dont_notify"] } },
  ],
  setPushRuleActions: () => [{
    params: { kind: "override", ruleId: ".m.rule.master" },
    body: { actions: ["notify", { set_tweak: "highlight", value: true }] },
  }],
  setPushRuleEnabled: () => [{ params: { kind: "override", ruleId: ".m.rule.master" } }],
  setRoomStateWithKey: states,
  setTyping: () => [{ body: { typing: true, timeout: 1_000 } }],
  sync: ({ ids }) => [
    { query: { timeout: "0", filter: JSON.stringify(FILTER) } },
    { query: { timeout: "0", since: ids.since, filter: ids.filterId, full_state: "true", use_state_after: "true" } },
  ],
  updateAppserviceRoomDirectoryVisibility: () => [{ params: { networkId: "x" } }],
  uploadCrossSigningKeys: ({ alice }) => [{
    body: { ...crossSigningIdentity(alice.userId).upload, auth: alice.auth() },
  }],
  uploadCrossSigningSignatures: ({ alice }) => [{
    body: { [alice.userId]: { [alice.deviceId]: identityOf(alice).keys } },
  }],
  uploadKeys: keyUploads,
  upgradeRoom: () => [{ body: { new_version: "12", additional_creators: ["@x:hs.test"] } }],
};

/** Returns who sends the requests of an operation. */
export function senderOf({ file }: Operation, { admin, alice }: World): TestClient {
  return file === "admin.yaml" ? admin : alice;
}

/** Returns the requests of an operation as a user of the world would send them. */
export function goodRequests(operation: Operation, world: World): GoodRequest[] {
  const names: Record<string, string> = {
    ...sampleParams(world),
    ...(operation.file === "admin.yaml" ? { userId: world.bob.userId } : {}),
  };
  const query: Record<string, string> = {};
  const body = operation.body?.content["application/json"];
  for (const { in: place, name } of operation.parameters) {
    const value = names[name];
    if (place === "query" && value !== undefined && !LEFT_OUT.has(name)) query[name] = value;
  }
  const usual = {
    operation,
    params: names,
    query,
    ...(body === undefined ? {} : { body: sample(body, { key: "", world }) }),
  };
  const cases = (CASES[operation.id] ?? EXTRA_CASES[operation.id])?.(world) ?? [{}];
  return cases.map((given) => ({ ...usual, ...given, params: { ...names, ...given.params } }));
}

/** Parameters that make an answer shorter or another one. */
const LEFT_OUT = new Set([
  "since",
  "from",
  "to",
  "at",
  "before",
  "after",
  "server",
  "kind",
  "not_membership",
  "next_batch",
]);

function sampleParams({ alice, ids }: World): Record<string, string> {
  return {
    ...{
      userId: alice.userId,
      user_id: alice.userId,
      deviceId: alice.deviceId,
      roomId: ids.roomId,
      room_id: ids.roomId,
    },
    ...{ roomIdOrAlias: ids.roomId, roomAlias: ids.alias, eventId: ids.eventId, txnId: "txn", serverName: "hs.test" },
    ...{
      mediaId: ids.mediaId,
      fileName: "a.txt",
      filename: "a.txt",
      filterId: ids.filterId,
      version: ids.backupVersion,
    },
    ...{
      eventType: "m.room.message",
      type: "m.direct",
      kind: "override",
      ruleId: ".m.rule.master",
      tag: "m.favourite",
    },
    ...{ relType: "m.thread", keyName: "displayname", receiptType: "m.read", sessionId: "s1", dir: "b", limit: "5" },
    ...{
      ts: "1000000000000",
      width: "32",
      height: "32",
      method: "crop",
      timeout: "0",
      timeout_ms: "0",
      username: "free",
    },
    ...{
      token: "x",
      max_depth: "2",
      suggested_only: "false",
      via: "hs.test",
      url: "http://127.0.0.1:1/",
      include: "all",
    },
    ...{
      from: ids.since,
      to: ids.since,
      at: ids.since,
      since: ids.since,
      next_batch: "x",
      protocol: "irc",
      alias: "#x:hs.test",
    },
    ...{
      recurse: "true",
      animated: "false",
      full_state: "false",
      archived: "true",
      only: "highlight",
      membership: "join",
    },
  };
}

/** Makes a value that fits a schema, with all its properties. */
function sample(schema: Schema, { key, world }: { key: string; world: World }): Json {
  const { alice, bob, ids } = world;
  if (schema.$ref !== undefined) return sample(referredSchema(schema.$ref), { key, world });
  if (schema.allOf !== undefined) {
    return Object.assign(
      {},
      ...[...schema.allOf, { ...schema, allOf: undefined }].map((part) => sample(part as Schema, { key, world })),
    );
  }
  if (schema.enum !== undefined) return schema.enum[0];
  const alternative = schema.oneOf?.[0] ?? schema.anyOf?.[0];
  if (alternative !== undefined) return sample(alternative, { key, world });
  const known: Record<string, Json> = {
    ...{ user_id: bob.userId, room_id: ids.roomId, auth: alice.auth(), "m.fully_read": ids.eventId },
    ...{ "m.read": ids.eventId, "m.read.private": ids.eventId, devices: ["OTHER"], email: "a@example.org", limit: 5 },
    ...{ client_secret: "secret", country: "GB", phone_number: "0712345678", medium: "email", kind: "http" },
  };
  if (Object.hasOwn(known, key)) return known[key];
  switch (typeof schema.type === "string" ? schema.type : schema.type?.[0]) {
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return true;
    case "array":
      return [sample(schema.items ?? {}, { key: "", world })];
    case "string":
      return schema.format === "uri" ? "https://example.org/_matrix/push/v1/notify" : "text";
    default: {
      const entries = Object.entries(schema.properties ?? {});
      return Object.fromEntries(entries.map(([name, child]) => [name, sample(child, { key: name, world })]));
    }
  }
}
