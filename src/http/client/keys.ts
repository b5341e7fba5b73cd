/**
 * Keys of devices and users. Spec: client-server API, "Key management API" and "Cross-signing".
 *   POST /keys/upload, /keys/query, /keys/claim, /keys/device_signing/upload, /keys/signatures/upload
 *   GET  /keys/changes
 */
import { z } from "zod";
import { badJson, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { type DeviceId, parseUserId, type UserId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import type { CrossSigningService } from "../../services/cross_signing.ts";
import type { DeviceKeysService } from "../../services/device_keys.ts";
import type { DeviceListRange, DeviceListsService } from "../../services/device_lists.ts";
import { areSignatures } from "../../services/key_json.ts";
import type { RemoteDevices } from "../../services/remote_devices.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJson, readJsonObject } from "../middleware/body.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { UiaBody } from "../middleware/uia.ts";

/** What the routes are built from. */
export interface KeyRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly deviceKeys: DeviceKeysService;
  readonly remoteDevices: RemoteDevices;
  readonly isLocal: (userId: UserId) => boolean;
  readonly crossSigning: CrossSigningService;
  readonly deviceLists: DeviceListsService;
  /** Runs `action` once the request has passed user-interactive authentication. */
  readonly withUserAuth: (c: Ctx, body: JsonObject, action: () => Promise<Response>) => Promise<Response>;
  /** Turns two /sync tokens into spans of streams; null when one is malformed. */
  readonly rangeBetween: (from: string, to: string) => DeviceListRange | null;
}

const MAX_BODY_BYTES = 4_194_304;
const MAX_USERS_PER_QUERY = 10_000;
const JsonObjectSchema = z.custom<JsonObject>(isJsonObject, "Must be an object");
const UploadBody = z.looseObject({
  device_keys: JsonObjectSchema.optional(),
  one_time_keys: JsonObjectSchema.optional(),
  fallback_keys: JsonObjectSchema.optional(),
  "org.matrix.msc2732.fallback_keys": JsonObjectSchema.optional(),
});
const Timeout = z.number().min(0).optional();
const QueryBody = z.looseObject({ timeout: Timeout, device_keys: z.record(z.string(), z.array(z.string())) });
const ClaimBody = z.looseObject({
  timeout: Timeout,
  one_time_keys: z.record(z.string(), z.record(z.string(), z.string())),
});
const CrossSigningKey = z.custom<JsonObject>((key) =>
  isJsonObject(key) && (key.signatures === undefined || areSignatures(key.signatures))
);
const CrossSigningBody = z.looseObject({
  master_key: CrossSigningKey.optional(),
  self_signing_key: CrossSigningKey.optional(),
  user_signing_key: CrossSigningKey.optional(),
});

/** Registers the key endpoints. */
export function keyRoutes(app: App, deps: KeyRoutesDeps): void {
  const { auth, limits, deviceKeys, remoteDevices, isLocal, crossSigning, deviceLists, rangeBetween } = deps;
  client(app)
    .post("/keys/upload", auth.guestOk(), (c) => uploadKeys(c, deviceKeys))
    .post("/keys/upload/:deviceId", auth.guestOk(), (c) => uploadKeys(c, deviceKeys))
    .post("/keys/query", auth.guestOk(), limits.perUser("rc_key_requests"), async (c) => {
      const body = await readJson(c, QueryBody, { maxBytes: MAX_BODY_BYTES });
      const { device_keys } = body;
      const wanted = parseUsers(device_keys);
      const own = await deviceKeys.query(requester(c).userId, wanted);
      const others = new Map([...wanted].filter(([userId]) => !isLocal(userId)));
      if (others.size === 0) return json(own);
      return json(merge(own, await remoteDevices.query(others, { timeoutMs: body.timeout })));
    })
    .post("/keys/claim", auth.guestOk(), async (c) => {
      const body = await readJson(c, ClaimBody, { maxBytes: MAX_BODY_BYTES });
      const { one_time_keys } = body;
      const wanted = [...parseUsers(one_time_keys)].flatMap(([userId, byDevice]) =>
        Object.entries(byDevice).map(([device, algorithm]) => ({ userId, deviceId: device as DeviceId, algorithm }))
      );
      const own = { one_time_keys: await deviceKeys.claim(wanted), failures: {} };
      const others = wanted.filter(({ userId }) => !isLocal(userId));
      if (others.length === 0) return json(own);
      return json(merge(own, await remoteDevices.claim(others, { timeoutMs: body.timeout })));
    })
    .get("/keys/changes", auth.guestOk(), async (c) => {
      const { from, to } = query(c, z.object({ from: z.string(), to: z.string() }));
      const range = rangeBetween(from, to);
      if (range === null) throw invalidParam("Invalid sync token");
      return json(await deviceLists.changes(requester(c).userId, range));
    })
    .post("/keys/signatures/upload", auth.user(), async (c) => {
      const signed = await readJsonObject(c, { maxBytes: MAX_BODY_BYTES });
      return json({ failures: await crossSigning.uploadSignatures(requester(c).userId, signed) });
    });
  client(app, ["v3", "r0", "unstable"])
    .post("/keys/device_signing/upload", auth.user(), (c) => uploadCrossSigning(c, deps));
}

async function uploadKeys(c: Ctx, deviceKeys: DeviceKeysService): Promise<Response> {
  const body = await readJson(c, UploadBody, { maxBytes: MAX_BODY_BYTES });
  const { userId, deviceId } = requester(c);
  if (deviceId === null) {
    throw new MatrixError(400, "M_MISSING_PARAM", "To upload keys, you must be logged in as a device");
  }
  const counts = await deviceKeys.upload({ userId, deviceId }, {
    deviceKeys: body.device_keys,
    oneTimeKeys: body.one_time_keys,
    fallbackKeys: body.fallback_keys ?? body["org.matrix.msc2732.fallback_keys"],
  });
  return json({ one_time_key_counts: counts });
}

async function uploadCrossSigning(c: Ctx, { crossSigning, withUserAuth }: KeyRoutesDeps): Promise<Response> {
  const body = await readJsonObject(c);
  const keys = CrossSigningBody.safeParse(body);
  if (!keys.success) throw badJson("Cross-signing keys must be objects with signatures by signer and key");
  const upload = {
    ...(keys.data.master_key && { master: keys.data.master_key }),
    ...(keys.data.self_signing_key && { self_signing: keys.data.self_signing_key }),
    ...(keys.data.user_signing_key && { user_signing: keys.data.user_signing_key }),
  };
  const { userId } = requester(c);
  const kind = await crossSigning.uploadKind(userId, upload);
  if (kind === "nothing") return json({});
  const isAuthenticated = kind === "auth";
  const store = async () => {
    await crossSigning.upload(userId, { keys: upload, isAuthenticated });
    return json({});
  };
  if (isAuthenticated) return await withUserAuth(c, body, store);
  checkJson(UiaBody, body);
  return await store();
}

function parseUsers<V extends JsonValue>(byUser: Readonly<Record<string, V>>): Map<UserId, V> {
  const entries = Object.entries(byUser);
  if (entries.length > MAX_USERS_PER_QUERY) throw new MatrixError(413, "M_TOO_LARGE", "Too many users in one request");
  return new Map(entries.map(([user, value]) => {
    const userId = parseUserId(user);
    if (userId === null) throw invalidParam(`Invalid user id "${user.slice(0, 255)}"`);
    return [userId, value];
  }));
}

/** Joins two answers: each part is an object by user or server. */
function merge(own: JsonObject, others: Readonly<Record<string, JsonObject>>): JsonObject {
  const merged = { ...own };
  for (const [part, value] of Object.entries(others)) {
    const before = merged[part];
    merged[part] = { ...(isJsonObject(before) ? before : {}), ...value };
  }
  return merged;
}
