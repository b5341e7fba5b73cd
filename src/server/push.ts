/** Push rules, what notifies whom, pushers, server notices. */
import { Ignores } from "../services/ignores.ts";
import { NotificationsService } from "../services/notifications.ts";
import { PushRulesService } from "../services/push_rules.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** What rooms run with every event. */
export interface PushBase {
  readonly ignores: Ignores;
  readonly pushRules: PushRulesService;
  readonly notifications: NotificationsService;
}

/** Builds what rooms run with every event. */
export async function buildPushBase(core: Core, rooms: () => RoomParts): Promise<PushBase> {
  const { db, notifier, config, isLocal } = core;
  const bodyMentions = !config.experimental.experimentalFeatures.isEnabled("msc4210_enabled");
  const pushRules = await PushRulesService.load({ db, notifier, bodyMentions });
  const ignores = await Ignores.load(db);
  const notifications = new NotificationsService({
    ...{ db, pushRules, ignores },
    isEnabled: config.push.push.enabled,
    rooms: {
      isLocal,
      memberCount: (roomNid) => rooms().facts.memberCount(roomNid),
      powerLevels: (roomId, sender) => rooms().facts.powerLevels(roomId, sender),
      displayName: (roomId, userId) => rooms().facts.displayName(roomId, userId),
      event: async (eventId) => (await rooms().events.getById(eventId))?.event ?? null,
    },
  });
  return { ignores, pushRules, notifications };
}
