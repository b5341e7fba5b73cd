/** Operations that clients use and the specification does not have, with the requests that hostile ones are made of. */
import type { Json } from "../harness/client.ts";
import type { Operation } from "../harness/openapi.ts";
import { ADMIN_OPERATIONS } from "./admin_operations.ts";
import type { Case } from "./cases.ts";
import type { World } from "./world.ts";

interface Extra {
  readonly id: string;
  /** `METHOD /path?query,names`. */
  readonly request: string;
  readonly cases: (world: World) => readonly Case[];
}

const CLIENT = "/_matrix/client";
const SUBSCRIPTION = `${CLIENT}/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`;
const DEHYDRATED = `${CLIENT}/unstable/org.matrix.msc3814.v1/dehydrated_device`;

function slidingBodies({ ids: { roomId, slidingPos } }: World): Case[] {
  const room = {
    timeline_limit: 2,
    required_state: [["m.room.member", "$LAZY"], ["m.room.member", "$ME"], ["*", "*"]],
  };
  const filters = {
    is_dm: false,
    is_encrypted: false,
    is_invite: false,
    room_types: [null],
    not_tags: ["a"],
    spaces: [],
  };
  const extensions: Json = Object.fromEntries(
    ["to_device", "e2ee", "account_data", "receipts", "typing", "io.element.msc4308.thread_subscriptions"].map((
      name,
    ) => [name, { enabled: true, limit: 5, rooms: ["*"], lists: ["all"] }]),
  );
  const lists = { all: { ...room, ranges: [[0, 5], [7, 9]], filters } };
  const query = { timeout: "0" };
  return [
    { query, body: { conn_id: "main", lists, room_subscriptions: { [roomId]: room }, extensions } },
    { query: { ...query, pos: slidingPos }, body: { conn_id: "other", lists: { all: { ...room, range: [0, 5] } } } },
  ];
}

const EXTRAS: readonly Extra[] = [
  {
    id: "slidingSync",
    request: `POST ${CLIENT}/unstable/org.matrix.simplified_msc3575/sync?pos,timeout,set_presence`,
    cases: slidingBodies,
  },
  {
    id: "sendDelayed",
    request: `PUT ${CLIENT}/v3/rooms/{roomId}/send/{eventType}/{txnId}?org.matrix.msc4140.delay`,
    cases: () => [{ query: { "org.matrix.msc4140.delay": "60000" }, body: { body: "later" } }],
  },
  {
    id: "manageDelayed",
    request: `POST ${CLIENT}/unstable/org.matrix.msc4140/delayed_events/{delayId}`,
    cases: () => [{ body: { action: "restart" } }],
  },
  { id: "listDelayed", request: `GET ${CLIENT}/unstable/org.matrix.msc4140/delayed_events?from`, cases: () => [{}] },
  {
    id: "putDehydrated",
    request: `PUT ${DEHYDRATED}`,
    cases: ({ alice }) => [{
      body: {
        device_id: "DEHYDRATED",
        device_data: { algorithm: "m.dehydration.v2", device_pickle: "x" },
        device_keys: { user_id: alice.userId, device_id: "DEHYDRATED", algorithms: [], keys: {}, signatures: {} },
        one_time_keys: {},
        fallback_keys: {},
      },
    }],
  },
  { id: "getDehydrated", request: `GET ${DEHYDRATED}`, cases: () => [{}] },
  {
    id: "dehydratedEvents",
    request: `POST ${DEHYDRATED}/{deviceId}/events`,
    cases: () => [{ params: { deviceId: "DEHYDRATED" }, body: { next_batch: "1" } }],
  },
  {
    id: "dehydratedEventsPage",
    request: `GET ${DEHYDRATED}/{deviceId}/events?from,limit`,
    cases: () => [{ params: { deviceId: "DEHYDRATED" }, query: { from: "d1_1", limit: "5" } }],
  },
  { id: "getSubscription", request: `GET ${SUBSCRIPTION}`, cases: () => [{}] },
  {
    id: "subscribe",
    request: `PUT ${SUBSCRIPTION}`,
    cases: ({ ids }) => [{ body: { automatic: ids.replyId } }, { body: {} }],
  },
  { id: "unsubscribe", request: `DELETE ${SUBSCRIPTION}`, cases: () => [{}] },
  {
    id: "listSubscriptions",
    request: `GET ${CLIENT}/unstable/io.element.msc4308/thread_subscriptions?dir,from,to,limit`,
    cases: () => [{ query: { dir: "b", limit: "5" } }],
  },
  {
    id: "registerWithSecret",
    request: "POST /_synapse/admin/v1/register",
    cases:
      () => [{ body: { nonce: "x", username: "new", password: "secret", mac: "00", admin: true, user_type: null } }],
  },
  {
    id: "sendServerNotice",
    request: "POST /_synapse/admin/v1/send_server_notice",
    cases: ({ bob }) => [{ body: { user_id: bob.userId, content: { body: "x" }, type: "m.room.message" } }],
  },
  ...ADMIN_OPERATIONS,
];

/** The cases of the operations here, by id. */
export const EXTRA_CASES: Readonly<Record<string, (world: World) => readonly Case[]>> = Object.fromEntries(
  EXTRAS.map(({ id, cases }) => [id, cases]),
);

/** The operations. */
export const EXTRA_OPERATIONS: readonly Operation[] = EXTRAS.map(({ id, request }) => {
  const [method = "", target = ""] = request.split(" ");
  const [path = "", query = ""] = target.split("?");
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({ in: "path" as const, name }));
  const inQuery = query.split(",").filter((name) => name !== "").map((name) => ({ in: "query" as const, name }));
  const parameters = [...inPath, ...inQuery].map((parameter) => ({ ...parameter, required: false, schema: {} }));
  // As those of the module "Server Administration", they are sent by an administrator.
  const file = path.startsWith("/_synapse/admin/") ? "admin.yaml" : "";
  return { method, path, id, file, security: ["accessTokenBearer"], parameters, body: null, responses: {} };
});
