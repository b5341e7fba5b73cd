/** Terms and limits that users are held to. */
import { getLogger } from "../lib/log.ts";
import { Consent } from "../services/consent.ts";
import type { ServerNotices } from "../services/server_notices.ts";
import { UsageLimits } from "../services/usage_limits.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";
import { noticesUserOf } from "./server_notices.ts";

/** Builds what asks for agreement to the terms; null where there are none. */
function buildConsent({ config, db, clock, mail }: Core, serverNotices: ServerNotices): Consent | null {
  const { userConsent } = config.rooms;
  if (userConsent === null) return null;
  const { serverName, publicBaseurl } = config;
  const noticesUser = noticesUserOf(config);
  return new Consent({
    ...{ db, clock, serverName, publicBaseurl, noticesUser, templates: mail.templates },
    log: getLogger("synapse.handlers.consent"),
    options: {
      ...userConsent,
      version: String(userConsent.version),
      templateDir: userConsent.templateDir ?? "",
      formSecret: config.api.formSecret ?? "",
    },
    sendNotice: async (userId, content) => {
      const admin = noticesUser ?? userId;
      await serverNotices.send({
        ...{ admin, userId, content: { ...content } },
        type: "m.room.message",
        stateKey: null,
        txnId: null,
      });
    },
  });
}

/** What holds users to them. */
export interface UsageParts {
  /** Null where there are no terms. */
  readonly consent: Consent | null;
  readonly limits: UsageLimits;
}

/** Builds what keeps users from sending. */
export function buildUsage(
  core: Core,
  { serverNotices, rooms }: { serverNotices: ServerNotices; rooms: RoomParts },
): UsageParts {
  const { config } = core;
  const consent = buildConsent(core, serverNotices);
  const noticesUser = noticesUserOf(config);
  const limits = new UsageLimits({
    consent,
    isNoticeRoom: async (roomId) =>
      noticesUser !== null && (await rooms.engine.localJoinedUsers(roomId)).has(noticesUser),
  });
  return { consent, limits };
}
