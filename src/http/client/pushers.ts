/**
 * Pushers. Spec: client-server API, "Push Notifications".
 *   GET  /pushers
 *   POST /pushers/set
 */
import { z } from "zod";
import { isStorable, type UserId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { PushersService } from "../../services/pushers.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJsonObject, withoutNulls } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface PusherRoutesDeps {
  readonly auth: Auth;
  readonly pushers: PushersService;
  /** Whether a user's pushers tell of their devices and can be switched off (MSC3881). */
  readonly canBeOff: (userId: UserId) => Promise<boolean>;
}

const ENABLED = "org.matrix.msc3881.enabled";
const DEVICE = "org.matrix.msc3881.device_id";

const MAX_BODY_BYTES = 65_536;
const KeyBody = z.looseObject({ app_id: text(64).min(1), pushkey: text(512).min(1) });
const SetBody = KeyBody.extend({
  kind: text(64),
  app_display_name: text(1_024),
  device_display_name: text(1_024),
  lang: text(64),
  data: z.custom<JsonObject>((data) => isJsonObject(data) && typeof (data.format ?? "") === "string")
    .transform(withoutNulls),
  profile_tag: text(64).nullish(),
  append: z.boolean().nullish(),
  [ENABLED]: z.boolean().optional(),
});

/** A text of at most `maxBytes` that any database can hold. */
function text(maxBytes: number): z.ZodString {
  return z.string().refine((value) => isStorable(value, maxBytes));
}

/** Registers the pusher endpoints. */
export function pusherRoutes(app: App, { auth, pushers, canBeOff }: PusherRoutesDeps): void {
  client(app)
    .get("/pushers", auth.user(), async (c) => {
      const { userId } = requester(c);
      const list = await pushers.list(userId);
      const tellsMore = await canBeOff(userId);
      return json({
        pushers: list.map((pusher) => ({
          pushkey: pusher.pushkey,
          kind: pusher.kind,
          app_id: pusher.appId,
          app_display_name: pusher.appDisplayName,
          device_display_name: pusher.deviceDisplayName,
          profile_tag: pusher.profileTag,
          lang: pusher.lang,
          data: { ...pusher.data },
          ...(tellsMore ? { [ENABLED]: pusher.isEnabled, [DEVICE]: pusher.deviceId } : {}),
        })),
      });
    })
    .post("/pushers/set", auth.user(), async (c) => {
      const { userId, deviceId } = requester(c);
      const given = await readJsonObject(c, { maxBytes: MAX_BODY_BYTES });
      if (given.kind === null) {
        const { app_id: appId, pushkey } = checkJson(KeyBody, given);
        await pushers.delete({ userId, appId, pushkey });
        return json({});
      }
      const body = checkJson(SetBody, given);
      await pushers.set({
        // Mails go on when a device is gone.
        ...{
          userId,
          deviceId: body.kind === "email" ? null : deviceId,
          appId: body.app_id,
          pushkey: body.pushkey,
          kind: body.kind,
        },
        appDisplayName: body.app_display_name,
        deviceDisplayName: body.device_display_name,
        lang: body.lang,
        profileTag: body.profile_tag ?? "",
        data: body.data,
        isEnabled: body[ENABLED] !== false || !await canBeOff(userId),
      }, { append: body.append === true });
      return json({});
    });
}
