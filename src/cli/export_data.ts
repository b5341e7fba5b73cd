/**
 * `export-data`: writes everything the server has on a user into a folder, laid out as by Synapse's `export-data`.
 *
 *     rooms/ROOM/{events,invite_state,knock_state}   rooms/ROOM/state/EVENT
 *     user_data/{profile,devices,connections}        user_data/account_data/{global,ROOM}
 *     media_ids/ID                                   media/ID, the file itself
 *
 * Files hold one JSON object a line.
 */
import { dirname, join } from "node:path";
import { getLogger } from "../lib/log.ts";
import { StartupError } from "../lib/startup_error.ts";
import { contentPath } from "../media/blob_paths.ts";
import type { BlobStore } from "../media/blob_store.ts";
import { openStore } from "../media/open_store.ts";
import { parseUserId, type ServerName } from "../protocol/ids.ts";
import { buildRoomReading } from "../server/room_readers.ts";
import { exportUser, type ExportWriter } from "../services/user_export.ts";
import { databaseOptions } from "../storage/database_options.ts";
import type { MediaRow } from "../storage/media.ts";
import { openReader } from "../storage/open_reader.ts";
import { type Command, type CommandContext, type Given, lastValue, UsageError } from "./command.ts";
import { CONFIG_FLAG, configOf } from "./config_flag.ts";
import { makeFolder } from "./files.ts";

/** The command. */
export const exportDataCommand: Command = {
  name: "export-data",
  aliases: ["admin_cmd", "synapse.app.admin_cmd"],
  summary: "Write everything the server has on a user into a folder.",
  words: "USER_ID",
  flags: {
    "config-path": CONFIG_FLAG,
    "output-directory": { value: "FOLDER", doc: "Where to write it; must be empty (a new temporary folder)." },
  },
  run: exportData,
};

async function exportData(given: Given, context: CommandContext): Promise<number> {
  const words = given.words[0] === "export-data" ? given.words.slice(1) : given.words;
  const userId = parseUserId(words[0] ?? "");
  if (userId === null || words.length !== 1) throw new UsageError("give one user id such as @alice:example.org");
  const config = await configOf(given, context);
  const { clock, terminal } = context;
  await using db = await openReader(databaseOptions(config.database));
  const folder = await outputFolder(lastValue(given, "output-directory"));
  await using store = await openStore({
    ...{ clock, log: getLogger("synapse.media.store"), settings: config.media },
    baseFolder: ".",
  });
  const writer = new FolderWriter(folder, { store, serverName: config.serverName });
  if (!await exportUser(await buildRoomReading(db, clock), { userId, writer })) {
    throw new StartupError(`There is no user ${userId} on this server`);
  }
  for (const missing of writer.missing) terminal.err(`Warning: the file of ${missing} is not in the media store\n`);
  terminal.out(`${folder}\n`);
  return 0;
}

async function outputFolder(path: string | null): Promise<string> {
  if (path === null) return await Deno.makeTempDir({ prefix: "synapse-ts-export-" });
  await makeFolder(path);
  for await (const _ of Deno.readDir(path)) throw new StartupError(`The folder ${path} must be empty`);
  return path;
}

class FolderWriter implements ExportWriter {
  readonly missing: string[] = [];
  readonly #folder: string;
  readonly #media: { readonly store: BlobStore; readonly serverName: ServerName };

  constructor(folder: string, media: { store: BlobStore; serverName: ServerName }) {
    this.#folder = folder;
    this.#media = media;
  }

  async events(roomId: string, events: readonly string[]): Promise<void> {
    await this.#append(["rooms", roomId, "events"], events);
  }

  async state(roomId: string, { eventId, events }: { eventId: string; events: readonly string[] }): Promise<void> {
    await this.#append(["rooms", roomId, "state", eventId], events);
  }

  async strippedState(
    roomId: string,
    { kind, events }: { kind: "invite" | "knock"; events: readonly string[] },
  ): Promise<void> {
    await this.#append(["rooms", roomId, `${kind}_state`], events);
  }

  async userData(name: string, rows: readonly unknown[]): Promise<void> {
    await this.#append(["user_data", name], rows.map((row) => JSON.stringify(row)));
  }

  async accountData(name: string, content: unknown): Promise<void> {
    await this.#append(["user_data", "account_data", name], [JSON.stringify(content)]);
  }

  async media(media: MediaRow): Promise<void> {
    await this.#append(["media_ids", media.mediaId], [JSON.stringify(describe(media))]);
    const path = this.#path(["media", media.mediaId]);
    const content = await this.#media.store.read(contentPath(media, this.#media.serverName));
    if (content === null) {
      this.missing.push(media.mediaId);
      return;
    }
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
    await content.pipeTo(file.writable);
  }

  async #append(parts: readonly string[], lines: readonly string[]): Promise<void> {
    const path = this.#path(parts);
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = lines.map((line) => `${line}\n`).join("");
    await Deno.writeTextFile(path, text, { append: true, mode: 0o600 });
  }

  /** Ids of rooms and events come from other servers too: nothing in them may lead out of the folder. */
  #path(parts: readonly string[]): string {
    return join(
      this.#folder,
      ...parts.map((part) => part.replaceAll(/[/\\\0]/g, "_").replace(/^\.+$/, "_").slice(0, 200)),
    );
  }
}

function describe(media: MediaRow): Record<string, unknown> {
  return {
    media_id: media.mediaId,
    media_type: media.contentType,
    media_length: media.length,
    upload_name: media.uploadName,
    created_ts: media.createdTs,
    last_access_ts: media.lastAccessTs,
    quarantined_by: media.quarantinedBy,
    safe_from_quarantine: media.safeFromQuarantine,
  };
}
