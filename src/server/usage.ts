/** Terms and limits that users are held to. */
import type { Config } from "../config/config.ts";
import { isMap } from "../config/schema.ts";
import { getLogger } from "../lib/log.ts";
import { AccountValidity } from "../services/account_validity.ts";
import { ActiveUsers } from "../services/active_users.ts";
import { Consent } from "../services/consent.ts";
import type { ServerNotices } from "../services/server_notices.ts";
import { LimitNotices } from "../services/limit_notices.ts";
import { UsageLimits } from "../services/usage_limits.ts";
import { selectProfile } from "../storage/profiles.ts";
import type { AccountParts } from "./accounts.ts";
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

/** Builds what tells users that the server is full; null where there is no limit or no notices. */
function buildLimitNotices(
  { config, clock }: Core,
  { serverNotices, rooms, accounts }: { serverNotices: ServerNotices; rooms: RoomParts; accounts: AccountParts },
): LimitNotices | null {
  const { limitUsageByMau, hsDisabled, mauLimitAlerting, adminContact } = config.blocking;
  const noticesUser = noticesUserOf(config);
  if (!limitUsageByMau || hsDisabled || noticesUser === null) return null;
  return new LimitNotices({
    ...{ clock, serverNotices, noticesUser, adminContact, isOn: mauLimitAlerting },
    log: getLogger("synapse.server_notices"),
    activeUsers: accounts.activeUsers,
    facts: rooms.facts,
    events: rooms.events,
  });
}

/** Builds what counts and limits who is active. */
export function buildActiveUsers({ config, db, clock }: Core): ActiveUsers {
  const options = { ...config.blocking, trackAppserviceUserIps: config.api.trackAppserviceUserIps };
  return new ActiveUsers({ db, clock, options, noticesUser: noticesUserOf(config) });
}

/** Builds what ends accounts; null where they do not end. */
export function buildValidity({ config, db, clock, mail }: Core): AccountValidity | null {
  const { enabled, period, renewAt, renewEmailSubject } = config.registration.accountValidity;
  if (!enabled || period === null) return null;
  return new AccountValidity({
    ...{ db, clock, mailer: mail.mailer, publicBaseurl: config.publicBaseurl },
    log: getLogger("synapse.handlers.account_validity"),
    displayName: async (userId) => (await selectProfile(db, userId))?.displayname ?? null,
    options: { periodMs: period, renewAtMs: renewAt, subject: renewEmailSubject },
  });
}

/** Tells whether an administrator must approve new accounts: `experimental_features.msc3866`. */
export function requiresApproval({ experimental }: Config): boolean {
  const { msc3866 } = experimental.experimentalFeatures.features;
  return isMap(msc3866) && msc3866.enabled === true && msc3866.require_approval_for_new_accounts === true;
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
  { serverNotices, rooms, accounts }: { serverNotices: ServerNotices; rooms: RoomParts; accounts: AccountParts },
): UsageParts {
  const { config } = core;
  const consent = buildConsent(core, serverNotices);
  const noticesUser = noticesUserOf(config);
  const limits = new UsageLimits({
    ...{ consent, activeUsers: accounts.activeUsers, validity: accounts.validity },
    limitNotices: buildLimitNotices(core, { serverNotices, rooms, accounts }),
    isNoticeRoom: async (roomId) =>
      noticesUser !== null && (await rooms.engine.localJoinedUsers(roomId)).has(noticesUser),
  });
  return { consent, limits };
}
