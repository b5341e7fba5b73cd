/** `review-recent-signups`: shows who registered of late, in the form of Synapse's script. */
import { parseDuration } from "../lib/duration.ts";
import type { Terminal } from "../lib/terminal.ts";
import { databaseOptions } from "../storage/database_options.ts";
import { openReader } from "../storage/open_reader.ts";
import { listRecentSignups, type RecentSignup } from "../storage/recent_signups.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { CONFIG_FLAG, configOf } from "./config_flag.ts";

const SHOWN_ROOMS = 3;

/** The command. */
export const reviewRecentSignupsCommand: Command = {
  name: "review-recent-signups",
  aliases: ["synapse_review_recent_signups"],
  summary: "Show who registered of late.",
  flags: {
    "config-path": CONFIG_FLAG,
    since: { short: "s", value: "DURATION", doc: "How far to look back (7d)." },
    "exclude-emails": { short: "e", doc: "Leave out users with a validated e-mail address." },
    "only-users": { short: "u", doc: "Show user ids only." },
    "exclude-app-service": { short: "a", doc: "Leave out users of application services." },
  },
  run: reviewRecentSignups,
};

async function reviewRecentSignups(given: Given, context: CommandContext): Promise<number> {
  const since = parseDuration(lastValue(given, "since") ?? "7d");
  if (since === null) throw new UsageError('--since must be a duration such as "7d"');
  const config = await configOf(given, context);
  const { terminal, clock } = context;
  await using db = await openReader(databaseOptions(config.database));
  const options = { since: clock.now() - since, withAppservices: !hasFlag(given, "exclude-app-service") };
  for await (const signup of listRecentSignups(db, options)) {
    if (hasFlag(given, "exclude-emails") && signup.emails.length > 0) continue;
    if (hasFlag(given, "only-users")) terminal.out(`${signup.userId}\n`);
    else show(signup, terminal);
  }
  return 0;
}

function show({ userId, createdTs, emails, ips, rooms }: RecentSignup, terminal: Terminal): void {
  const open = rooms.filter(({ isPublic }) => isPublic).map((room) => room.canonicalAlias ?? room.name ?? room.roomId);
  const more = open.length > SHOWN_ROOMS ? ", ..." : "";
  const names = open.length === 0 ? "" : `(${open.slice(0, SHOWN_ROOMS).map(oneLine).join(", ")}${more})`;
  terminal.out(`# Created: ${localTime(createdTs)}
# Email: ${emails.join(", ") || "None"}
# IPs: ${ips.join(", ")}
# Number joined public rooms: ${open.length} ${names}
# Number joined private rooms: ${rooms.length - open.length}
#
${userId}

`);
}

/** So that a room's name cannot look like a line of this list. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}

function localTime(time: number): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
