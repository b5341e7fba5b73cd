/**
 * Messages from device to device. Spec: client-server API, "Send-to-Device messaging".
 *   PUT /sendToDevice/{eventType}/{txnId}
 */
import { badJson, missingParam } from "../../protocol/errors.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { ToDeviceContents, ToDeviceService } from "../../services/to_device.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** Clients send room keys to every device of a large room in one request. */
const MAX_BODY_BYTES = 4_194_304;

/** Registers the send-to-device endpoint. */
export function toDeviceRoutes(app: App, { auth, toDevice }: {
  readonly auth: Auth;
  readonly toDevice: ToDeviceService;
}): void {
  client(app).put("/sendToDevice/:eventType/:txnId", auth.guestOk(), async (c) => {
    const { messages } = await readJsonObject(c, { maxBytes: MAX_BODY_BYTES });
    if (messages === undefined) throw missingParam("messages");
    if (!isJsonObject(messages)) throw badJson('"messages" must be an object');
    await toDevice.send(requester(c), {
      type: pathText(c, "eventType"),
      txnId: pathText(c, "txnId"),
      messages: parseMessages(messages),
    });
    return json({});
  });
}

function parseMessages(messages: JsonObject): ToDeviceContents {
  const parsed = new Map<UserId, Map<string, JsonObject>>();
  for (const [user, byDevice] of Object.entries(messages)) {
    const userId = parseUserId(user);
    if (userId === null || !isJsonObject(byDevice)) throw badJson(`Invalid messages for "${user.slice(0, 255)}"`);
    const contents = new Map<string, JsonObject>();
    for (const [device, content] of Object.entries(byDevice)) {
      if (!isJsonObject(content)) throw badJson(`The message for "${device.slice(0, 255)}" is not an object`);
      contents.set(device, content);
    }
    parsed.set(userId, contents);
  }
  return parsed;
}
