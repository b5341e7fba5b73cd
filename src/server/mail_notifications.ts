/** Mails about missed messages. */
import { getLogger } from "../lib/log.ts";
import type { UserId } from "../protocol/ids.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { AccountDataService } from "../services/account_data.ts";
import type { NotificationsService } from "../services/notifications.ts";
import { Unsubscribes } from "../services/unsubscribes.ts";
import { selectEventBefore } from "../storage/event_lookups.ts";
import { selectProfile } from "../storage/profiles.ts";
import { MailContent } from "../workers/mail_content.ts";
import { MailDelivery } from "../workers/mail_delivery.ts";
import { RoomTitles } from "../workers/room_titles.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** Where mails find what they tell of. */
interface MailBase {
  readonly rooms: RoomParts;
  readonly accountData: AccountDataService;
}

/** Builds what sends them; without `email.enable_notifs` it sends none. */
export function buildMail(
  core: Core,
  { rooms, notifications, accountData }: MailBase & { notifications: NotificationsService },
): MailDelivery {
  const { db, clock, config, mail, signer } = core;
  const { email } = config.email;
  const mailer = email?.enableNotifs === true ? mail.mailer : null;
  const unsubscribes = new Unsubscribes({ key: signer.key, publicBaseurl: config.publicBaseurl });
  return new MailDelivery({
    ...{ db, clock, mailer, notifications, ...rooms },
    log: getLogger("synapse.push.emailpusher"),
    delayMs: email?.notifDelayBeforeMail ?? 0,
    displayName: async ({ userId }) => (await selectProfile(db, userId))?.displayname ?? userId,
    unsubscribeUrl: (pusher) => unsubscribes.urlFor(pusher),
    content: new MailContent({
      titles: new RoomTitles({ db, ...rooms }),
      clientBaseUrl: email?.riotBaseUrl ?? email?.clientBaseUrl ?? "",
      subject: (name, values) => mail.mailer?.fill(email?.subjects[name] ?? "", values) ?? "",
      before: (userId, stored) => eventBefore(core, { rooms, accountData, userId, stored }),
    }),
  });
}

async function eventBefore(
  { db }: Core,
  { rooms, accountData, userId, stored }: MailBase & { userId: UserId; stored: StoredEvent },
): Promise<StoredEvent | null> {
  if (stored.position === null) return null;
  const nid = await selectEventBefore(db, { roomNid: stored.roomNid, position: stored.position });
  const before = nid === null ? null : await rooms.events.getByNid(nid);
  if (before === null || before.redactedByNid !== null) return null;
  const ignored = accountData.ignoredUsers(userId);
  const [visible] = await rooms.visibility.filter([before], { userId, isMember: true, upTo: null, ignored });
  return visible?.stored ?? null;
}
