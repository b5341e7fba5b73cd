/** Push rules, what notifies whom, pushers, server notices. */
import { userAgentOf } from "../config/user_agent.ts";
import { randomInt } from "node:crypto";
import { systemDns } from "../federation/dns.ts";
import { IpPolicy } from "../federation/ip_policy.ts";
import { WebProxies } from "../federation/web_proxies.ts";
import { getLogger } from "../lib/log.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import { AccountDataService } from "../services/account_data.ts";
import { AdminClientConfigs } from "../services/admin_client_config.ts";
import { Badges } from "../services/badges.ts";
import { Ignores } from "../services/ignores.ts";
import { NotificationsService } from "../services/notifications.ts";
import { PushersService } from "../services/pushers.ts";
import { PushRulesService } from "../services/push_rules.ts";
import { RoomSuccessions } from "../services/room_successions.ts";
import { Unsubscribes } from "../services/unsubscribes.ts";
import { buildMail } from "./mail_notifications.ts";
import { PushDelivery } from "../workers/push_delivery.ts";
import { PushGateways } from "../workers/push_gateway.ts";
import { PushPayloads } from "../workers/push_payload.ts";
import { PushPool } from "../workers/push_pool.ts";
import { RoomTitles } from "../workers/room_titles.ts";
import { SuccessionWorker } from "../workers/room_successions.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** What rooms run with every event. */
export interface PushBase {
  readonly accountData: AccountDataService;
  readonly successions: RoomSuccessions;
  readonly pushRules: PushRulesService;
  readonly notifications: NotificationsService;
  readonly onPersist: PersistHandler;
}

/** Builds what rooms run with every event. */
export async function buildPushBase(
  core: Core,
  { rooms, push }: { rooms: () => RoomParts; push: () => PushParts },
): Promise<PushBase> {
  const { db, notifier, config, isLocal } = core;
  const bodyMentions = !config.experimental.experimentalFeatures.isEnabled("msc4210_enabled");
  const pushRules = await PushRulesService.load({
    ...{ db, notifier, bodyMentions },
    followedThreads: config.experimental.experimentalFeatures.isEnabled("msc4306_enabled"),
  });
  const ignores = await Ignores.load(db);
  const notifications = new NotificationsService({
    ...{ db, pushRules, ignores, position: () => notifier.position("events") },
    isEnabled: config.push.push.enabled,
    rooms: {
      isLocal,
      powerLevels: (roomId, sender) => rooms().facts.powerLevels(roomId, sender),
      displayName: (roomId, userId) => rooms().facts.displayName(roomId, userId),
      event: async (eventId) => (await rooms().events.getById(eventId))?.event ?? null,
    },
  });
  const adminConfigs = await AdminClientConfigs.load(db);
  const accountData = new AccountDataService({ db, notifier, ignores, adminConfigs });
  const successions = new RoomSuccessions({
    ...{ accountData, pushRules },
    facts: () => rooms().facts,
    memberships: () => rooms().memberships,
    localJoined: (roomId) => rooms().engine.localJoinedUsers(roomId),
    onRecorded: () => push().wakeSuccessions(),
  });
  const onPersist: PersistHandler = async (tx, batch) => {
    await notifications.record(tx, batch);
    await successions.record(tx, batch);
  };
  return { accountData, pushRules, notifications, successions, onPersist };
}

/** What reaches users by push. */
export interface PushParts extends AsyncDisposable {
  readonly pushers: PushersService;
  readonly unsubscribes: Unsubscribes;
  /** Events up to here were looked at for whom to push to. */
  readonly position: () => number;
  /** What gateways took, and what they did not. */
  readonly pushes: PushDelivery["pushes"];
  readonly badgeUpdates: PushDelivery["badgeUpdates"];
  readonly requestCounts: PushGateways["counts"];
  /** Has rules and tags carried from replaced rooms to new ones. */
  wakeSuccessions(): void;
  /** Forgets what notified of events received before a time. */
  prune(before: number): Promise<void>;
  /** Goes on with what a former run of the server left. */
  start(): Promise<void>;
}

const RANDOM_STEPS = 2 ** 32;

/** Builds the pushers. */
export function buildPush(
  core: Core,
  { rooms, notifications, successions, accountData }: Omit<PushBase, "pushRules" | "onPersist"> & { rooms: RoomParts },
): PushParts {
  const { db, clock, notifier, config } = core;
  const { pool, delivery, gateways } = buildPool(core, { rooms, notifications, accountData });
  const log = getLogger("synapse.handlers.room_member");
  const successionWorker = new SuccessionWorker({ db, clock, log, successions });
  return {
    pushers: new PushersService({
      ...{ db, clock, notifier, onChange: (userId) => pool.reload(userId) },
      sendsMail: config.email.email?.enableNotifs === true,
      mailsNewUsers: config.email.email?.notifForNewUsers === true,
    }),
    unsubscribes: new Unsubscribes({ key: core.signer.key, publicBaseurl: config.publicBaseurl }),
    position: () => pool.position,
    ...{ pushes: delivery.pushes, badgeUpdates: delivery.badgeUpdates, requestCounts: gateways.counts },
    wakeSuccessions: () => successionWorker.wake(),
    prune: (before) => notifications.prune(before),
    async start() {
      successionWorker.wake();
      if (config.push.push.enabled) await pool.start();
    },
    async [Symbol.asyncDispose]() {
      await successionWorker[Symbol.asyncDispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

function buildPool(
  core: Core,
  { rooms, notifications, accountData }: Pick<PushBase, "notifications" | "accountData"> & { rooms: RoomParts },
): { readonly pool: PushPool; readonly delivery: PushDelivery; readonly gateways: PushGateways } {
  const { db, clock, notifier, config: { server, push: { push } } } = core;
  const gateways = new PushGateways({
    dns: systemDns(),
    ipPolicy: new IpPolicy({ denied: server.ipRangeBlacklist, allowed: server.ipRangeWhitelist }),
    proxies: new WebProxies(server),
    userAgent: userAgentOf(core.config),
  });
  const log = getLogger("synapse.push.httppusher");
  const badges = new Badges({ ...rooms, notifications, byRoom: push.groupUnreadCountByRoom });
  const delivery = new PushDelivery({
    ...{ db, clock, log, ...rooms, notifications, badges },
    gateways,
    payloads: new PushPayloads({ titles: new RoomTitles({ db, ...rooms }), includeContent: push.includeContent }),
    random: () => randomInt(RANDOM_STEPS) / RANDOM_STEPS,
    jitterMs: push.jitterDelay,
  });
  const pool = new PushPool({
    ...{
      db,
      clock,
      log,
      notifier,
      badges,
      delivery,
      gateways,
      mail: buildMail(core, { rooms, notifications, accountData }),
    },
    localJoined: async (roomNid) => {
      const room = await rooms.events.room(roomNid);
      return room === null ? new Set() : await rooms.engine.localJoinedUsers(room.roomId);
    },
  });
  return { pool, delivery, gateways };
}
