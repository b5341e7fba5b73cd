/** Who uses the server: accounts, logins, mails, presence, pushes, application services. */
import type { Metrics } from "../../lib/metrics.ts";
import { sumTallies, type Tally } from "../../lib/tally.ts";
import { countDailyUsers, countMonthlyUsersByService } from "../../storage/active_users.ts";
import { countPushers } from "../../storage/pushers.ts";
import { countActiveUsers } from "../../storage/users.ts";
import type { Parts } from "../parts.ts";
import { remembered } from "./remembered.ts";
import { addTally } from "./tallies.ts";

const MINUTE_MS = 60_000;
/** Apps are told apart for those that most use; anybody can make up names of others. */
const NAMED_APPS = 20;
/** Synapse's names of the kinds. */
const KINDS: Readonly<Record<string, string>> = { http: "HttpPusher", email: "EmailPusher" };

/** Adds the metrics. */
export function addUserMetrics(metrics: Metrics, parts: Parts): void {
  addAccounts(metrics, parts);
  addActivity(metrics, parts);
  addPresence(metrics, parts);
  addPushes(metrics, parts);
  addAppservices(metrics, parts);
}

function addAccounts(metrics: Metrics, { core: { db, clock, mail }, accounts }: Parts): void {
  const accountCounts = remembered(clock, { forMs: MINUTE_MS, read: () => countActiveUsers(db) });
  metrics.gauge(
    { name: "synapse_non_deactivated_user_count", help: "Accounts that are in use", labels: ["app_service"] },
    async () =>
      (await accountCounts()).map(({ appserviceId, count }) => {
        return [{ app_service: appserviceId ?? "native" }, count] as const;
      }),
  );
  addTally(metrics, {
    name: "synapse_user_registrations_total",
    help: "Accounts that were made",
    tally: accounts.registration.registrations,
  });
  addTally(metrics, { name: "synapse_user_logins_total", help: "Logins", tally: accounts.devices.logins });
  addTally(metrics, {
    name: "synapse_user_login_invalid_login_tokens_total",
    help: "Login tokens that were not good, and why",
    tally: accounts.tokens.badLoginTokens,
  });
  const { mailer } = mail;
  metrics.counted(
    { name: "synapse_emails_sent_total", help: "Mails that the mail server took, by template", labels: ["type"] },
    () => mailer?.sent.read() ?? [],
  );
}

function addActivity(metrics: Metrics, { core: { db, clock, config }, accounts: { activeUsers } }: Parts): void {
  const { limitUsageByMau, mauStatsOnly, maxMauValue } = config.blocking;
  const daily = remembered(clock, { forMs: 5 * MINUTE_MS, read: () => countDailyUsers(db, clock.now()) });
  metrics.gauge(
    { name: "synapse_admin_daily_active_users", help: "Users who were seen within a day" },
    async () => await daily(),
  );
  metrics.gauge(
    { name: "synapse_admin_mau_current", help: "Monthly active users; 0 where nobody counts them" },
    () => activeUsers.count(),
  );
  metrics.gauge(
    {
      name: "synapse_admin_mau_current_mau_by_service",
      help: "Monthly active users by application service",
      labels: ["app_service"],
    },
    async () =>
      limitUsageByMau || mauStatsOnly
        ? (await countMonthlyUsersByService(db, clock.now())).map(({ appserviceId, count }) =>
          [{ app_service: appserviceId ?? "native" }, count] as const
        )
        : [],
  );
  metrics.gauge(
    { name: "synapse_admin_mau_max", help: "The most monthly active users; 0 without a limit" },
    () => limitUsageByMau ? maxMauValue : 0,
  );
  const reserved = remembered(clock, { forMs: 5 * MINUTE_MS, read: () => activeUsers.countReserved() });
  metrics.gauge(
    { name: "synapse_admin_mau_registered_reserved_users", help: "Accounts with a reserved address" },
    async () => await reserved(),
  );
}

function addPresence(metrics: Metrics, { userData: { presence }, exchange: { outbound } }: Parts): void {
  const { counts } = presence;
  const counted = (name: string, help: string, read: () => number) =>
    metrics.counted({ name: `synapse_handler_presence_${name}_total`, help }, read);
  counted("presence_updates", "What users said of themselves", () => counts.updates);
  counted("notified_presence", "Changes of presence that others are told of", () => counts.notified);
  counted("timers_fired", "Users who became idle or went offline without saying so", () => counts.expired);
  counted("federation_presence", "What other servers said of their users", () => counts.received);
  counted(
    "federation_presence_out",
    "What other servers were told, each time for each server",
    () => outbound.presenceOut,
  );
  counted("bump_active_time", "Signs of life, such as sending a message", () => counts.activity);
  addTally(metrics, {
    name: "synapse_handler_presence_get_updates_total",
    help: "Reads of what changed, and of all",
    tally: presence.reads,
  });
  addTally(metrics, {
    name: "synapse_handler_presence_notify_reason_total",
    help: "Why others are told of a user's presence",
    tally: presence.reasons,
  });
  addTally(metrics, {
    name: "synapse_handler_presence_state_transition_total",
    help: "Changes of users' states",
    tally: presence.transitions,
  });
  metrics.gauge(
    { name: "synapse_handlers_presence_user_to_current_state_size", help: "Users whose presence is in memory" },
    () => presence.size,
  );
}

function addPushes(metrics: Metrics, { core: { db, clock }, push }: Parts): void {
  const counts = remembered(clock, { forMs: MINUTE_MS, read: () => countPushers(db, NAMED_APPS) });
  metrics.gauge(
    { name: "synapse_pushers", help: "Pushers; of apps, the most common", labels: ["kind", "app_id"] },
    async () => (await counts()).map(({ kind, appId, count }) => [{ kind: KINDS[kind] ?? kind, app_id: appId }, count]),
  );
  const counted = (name: string, help: string, read: () => number) =>
    metrics.counted({ name: `synapse_http_httppusher_${name}_total`, help }, read);
  counted("http_pushes_processed", "Notifications that push gateways took", () => push.pushes.taken);
  counted("http_pushes_failed", "Notifications that push gateways did not take", () => push.pushes.failed);
  counted("badge_updates_processed", "Badges that push gateways took", () => push.badgeUpdates.taken);
  counted("badge_updates_failed", "Badges that push gateways did not take", () => push.badgeUpdates.failed);
}

function addAppservices(metrics: Metrics, { users, push }: Parts): void {
  const { counts } = users;
  const clients = [counts.requests, push.requestCounts];
  metrics.counted(
    {
      name: "synapse_http_client_requests_total",
      help: "Requests to application services and push gateways",
      labels: ["method"],
    },
    () => sumTallies(clients.map(({ requests }) => requests)),
  );
  metrics.counted(
    { name: "synapse_http_client_responses_total", help: "Their answers", labels: ["method", "code"] },
    () => sumTallies(clients.map(({ responses }) => responses)),
  );
  const tally = (name: string, help: string, tally: Tally<"service">) =>
    addTally(metrics, { name: `synapse_appservice_api_${name}_total`, help, tally });
  tally("sent_transactions", "Transactions that application services took", counts.transactions);
  tally("failed_transactions", "Transactions that application services did not take", counts.failures);
  tally("sent_events", "Events in them", counts.events);
  tally("sent_ephemeral", "Receipts, typing and presence in them", counts.ephemeral);
  tally("sent_todevice", "Messages to devices in them", counts.toDevice);
}
