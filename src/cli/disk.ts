/** `disk`: what takes how much, which rooms are the biggest, and what could be freed and how. */
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Terminal } from "../lib/terminal.ts";
import type { Database } from "../storage/database.ts";
import { databaseOptions } from "../storage/database_options.ts";
import {
  countForgottenRooms,
  selectFreeBytes,
  selectMediaUsage,
  selectRoomUsage,
  selectTableUsage,
  selectUnusedRemoteMedia,
  type TableUsage,
} from "../storage/disk_usage.ts";
import { openReader } from "../storage/open_reader.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { CONFIG_FLAG, configOf } from "./config_flag.ts";
import { bytesText } from "./doctor/finding.ts";

const UNUSED_AFTER_MS = 90 * 86_400_000;
const WORTH_SAYING = 1024 * 1024;

/** Kinds of data by the names of their tables; the first that fits. */
const KINDS: readonly (readonly [string, RegExp])[] = [
  ["search", /^search_/],
  ["state", /^(state_|current_state|local_memberships|member_names)/],
  ["events", /^(event|redactions|forward_extremities|relayed|sticky|threads)/],
  ["devices and keys", /(device|keys|key_|cross_signing|to_device)/],
  ["notifications", /(notification|push)/],
  ["receipts", /^receipts/],
  ["federation", /^(federation|destinations|server_key|received|room_servers)/],
  ["media", /^(media|url_previews)/],
  ["users", /^(users|user_|access_tokens|refresh_tokens|profiles|account_data|presence|filters|sliding)/],
];

/** The command. */
export const diskCommand: Command = {
  name: "disk",
  aliases: [],
  summary: "Show what takes how much of the disk, and what could be freed and how.",
  flags: {
    "config-path": CONFIG_FLAG,
    rooms: { value: "NUMBER", doc: "How many of the biggest rooms to show (10)." },
    json: { doc: "Write one JSON object." },
  },
  run: disk,
};

/** Something that could be freed. */
interface Freeable {
  readonly what: string;
  readonly bytes: number | null;
  readonly how: string;
}

async function disk(given: Given, context: CommandContext): Promise<number> {
  const rooms = Number(lastValue(given, "rooms") ?? 10);
  if (!Number.isInteger(rooms) || rooms < 0 || rooms > 10_000) throw new UsageError("--rooms must be 0 to 10000");
  const config = await configOf(given, context);
  await using db = await openReader(databaseOptions(config.database));
  const tables = await selectTableUsage(db);
  const report = {
    kinds: sumKinds(tables),
    tables,
    media: await selectMediaUsage(db, config.serverName),
    rooms: await selectRoomUsage(db, rooms),
    freeable: await listFreeable(db, { config, clock: context.clock }),
  };
  if (hasFlag(given, "json")) context.terminal.out(`${JSON.stringify(report, null, 2)}\n`);
  else print(report, context.terminal);
  return 0;
}

function sumKinds(tables: readonly TableUsage[]): { kind: string; bytes: number }[] {
  const sums = new Map<string, number>();
  for (const { table, bytes } of tables) {
    const kind = KINDS.find(([, pattern]) => pattern.test(table))?.[0] ?? "other";
    sums.set(kind, (sums.get(kind) ?? 0) + bytes);
  }
  return [...sums].map(([kind, bytes]) => ({ kind, bytes })).sort((a, b) => b.bytes - a.bytes);
}

async function listFreeable(
  db: Database,
  { config, clock }: { config: Config; clock: Clock },
): Promise<Freeable[]> {
  const found: Freeable[] = [];
  const before = clock.now() - UNUSED_AFTER_MS;
  const remote = await selectUnusedRemoteMedia(db, { serverName: config.serverName, before });
  if (remote.files > 0) {
    found.push({
      what: `${remote.files} copies of other servers' media that nobody asked for in 90 days`,
      bytes: remote.bytes,
      how: "media_retention: { remote_media_lifetime: 90d }, or POST /_synapse/admin/v1/purge_media_cache",
    });
  }
  const forgotten = await countForgottenRooms(db);
  if (forgotten > 0) {
    found.push({
      what: `${forgotten} rooms that all users of this server have left and forgotten`,
      bytes: null,
      how: "forgotten_room_retention_period: 28d, or DELETE /_synapse/admin/v2/rooms/ROOM_ID",
    });
  }
  const free = await selectFreeBytes(db);
  if (free >= WORTH_SAYING) {
    found.push({
      what: "pages of the database that hold nothing",
      bytes: free,
      how: "they are used again for what comes next; the server gives some back to the disk as time goes on",
    });
  }
  return found;
}

function print(
  { kinds, media, rooms, freeable }: {
    kinds: readonly { kind: string; bytes: number }[];
    media: readonly { kind: string; files: number; bytes: number }[];
    rooms: Awaited<ReturnType<typeof selectRoomUsage>>;
    freeable: readonly Freeable[];
  },
  terminal: Terminal,
): void {
  const total = kinds.reduce((sum, { bytes }) => sum + bytes, 0);
  terminal.out(`Database: ${bytesText(total)}\n`);
  for (const { kind, bytes } of kinds) terminal.out(`  ${bytesText(bytes).padStart(8)}  ${kind}\n`);
  terminal.out(`\nMedia: ${bytesText(media.reduce((sum, { bytes }) => sum + bytes, 0))}\n`);
  for (const { kind, files, bytes } of media) {
    terminal.out(`  ${bytesText(bytes).padStart(8)}  ${kind} (${files} files)\n`);
  }
  if (rooms.length > 0) terminal.out("\nBiggest rooms\n");
  for (const { roomId, alias, joinedMembers, isWanted, events, eventBytes, stateBytes } of rooms) {
    const note = isWanted ? "" : ", forgotten by all users here";
    terminal.out(
      `  ${bytesText(eventBytes + stateBytes).padStart(8)}  ${roomId}${alias === null ? "" : ` ${alias}`}: ` +
        `${events} events ${bytesText(eventBytes)}, state ${bytesText(stateBytes)}, ${joinedMembers} members${note}\n`,
    );
  }
  terminal.out(freeable.length === 0 ? "\nNothing stands out that could be freed.\n" : "\nCould be freed\n");
  for (const { what, bytes, how } of freeable) {
    terminal.out(`  ${(bytes === null ? "?" : bytesText(bytes)).padStart(8)}  ${what}\n            → ${how}\n`);
  }
}
