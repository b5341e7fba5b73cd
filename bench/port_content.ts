/** A big database for port_bench.ts, made of what a server wrote, and what tells whether it came back the same. */
import { DatabaseSync } from "node:sqlite";
import { Api, populate } from "./small_load.ts";
import { prepare, type Program, start } from "./servers.ts";

const WORLD = { users: 20, rooms: 40, members: 100 };
const MESSAGES = 2_000;
/** What has a row for each event; the columns that tell one copy of it from another. */
const COPIED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  events: {
    event_nid: "event_nid + :nids",
    event_id: "'$' || :round || substr(event_id, 2)",
    position: "position + :positions",
    depth: "depth + :positions",
    txn_id: ":round || '-' || txn_id",
  },
  event_json: { event_nid: "event_nid + :nids" },
  event_prev: { event_nid: "event_nid + :nids", prev_nid: "prev_nid + :nids" },
  event_auth: { event_nid: "event_nid + :nids", auth_nid: "auth_nid + :nids" },
};
/** Where the copy of a table has what the original has not: the marks of the index that is made anew. */
const REBUILT: ReadonlySet<string> = new Set(["consumer_cursors", "schema_migrations"]);
const DERIVED = /^(?:sqlite_|search_)/;

/** Makes `FOLDER/homeserver.db` of at least so many bytes. Returns how many events it has. */
export async function makeContent(
  program: Program,
  { folder, bytes }: { folder: string; bytes: number },
): Promise<number> {
  const port = await prepare(program, { folder });
  {
    const server = await start(program, { folder, port });
    await using running = server.process;
    const api = new Api(server.url);
    const { rooms } = await populate(api, WORLD);
    for (let count = 0; count < MESSAGES; count++) {
      const room = rooms[count % rooms.length];
      const token = room?.people[count % room.people.length]?.token ?? "";
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room?.id ?? "")}/send/m.room.message/${count}`;
      await api.call("PUT", path, {
        token,
        body: { msgtype: "m.text", body: `Ünïcode ${count} \u{1f980} `.repeat(10) },
      });
    }
    await running.stop();
  }
  return multiply(`${folder}/homeserver.db`, bytes);
}

/** Copies the events, with new numbers, until the file is as big as it should be. */
function multiply(path: string, bytes: number): number {
  const db = new DatabaseSync(path);
  try {
    db.exec("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -262144");
    const limits = db.prepare("SELECT MAX(event_nid) AS nids, MAX(position) AS positions FROM events").get();
    const nids = Number(limits?.nids) + 1;
    const positions = Number(limits?.positions) + 1;
    const size = db.prepare("SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size");
    for (let round = 1; Number(size.get()?.bytes) < bytes; round++) {
      db.exec("BEGIN");
      for (const [table, changed] of Object.entries(COPIED)) {
        const columns = db.prepare(`SELECT name FROM pragma_table_info('${table}')`).all().map(({ name }) =>
          String(name)
        );
        const values = columns.map((name) => changed[name] ?? name).join(", ");
        const used = [":nids", ":positions", ":round"].filter((name) => values.includes(name));
        const all: Record<string, number | string> = {
          ":nids": nids * round,
          ":positions": positions * round,
          ":round": String(round),
        };
        db.prepare(
          `INSERT INTO ${table} (${columns.join(", ")}) SELECT ${values} FROM ${table} WHERE event_nid < ${nids}`,
        )
          .run(Object.fromEntries(used.map((name) => [name, all[name] ?? 0])));
      }
      db.exec("COMMIT");
    }
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    return Number(db.prepare("SELECT COUNT(*) AS n FROM events").get()?.n);
  } finally {
    db.close();
  }
}

/** Returns the first difference between two files, or null: every row of every table, in the order of its key. */
export function firstDifference(one: string, other: string): string | null {
  using a = open(one);
  using b = open(other);
  const [tables, others] = [tableNames(a.db), tableNames(b.db)];
  if (tables.join() !== others.join()) return `the tables are ${tables.join()} and ${others.join()}`;
  for (const table of tables) {
    const query = orderedRows(a.db, table);
    const right = b.db.prepare(query).iterate();
    let row = 0;
    for (const left of a.db.prepare(query).iterate()) {
      row++;
      const match = right.next();
      const same = match.done !== true && textOf(left) === textOf(match.value);
      if (!same) return `row ${row} of ${table}: ${textOf(left)} is ${match.done ? "missing" : textOf(match.value)}`;
    }
    if (right.next().done !== true) return `${table} has more than ${row} rows`;
  }
  return null;
}

function open(path: string): { db: DatabaseSync; [Symbol.dispose](): void } {
  const db = new DatabaseSync(path, { readOnly: true });
  return { db, [Symbol.dispose]: () => db.close() };
}

function tableNames(db: DatabaseSync): string[] {
  const names = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all();
  return names.map(({ name }) => String(name)).filter((name) => !DERIVED.test(name) && !REBUILT.has(name));
}

function orderedRows(db: DatabaseSync, table: string): string {
  const columns = db.prepare(`SELECT name, pk FROM pragma_table_info('${table}')`).all();
  const key = columns.filter(({ pk }) => Number(pk) > 0).sort((x, y) => Number(x.pk) - Number(y.pk));
  const names = (some: typeof columns) => some.map(({ name }) => `"${name}"`).join(", ");
  return `SELECT ${names(columns.toSorted((x, y) => String(x.name) < String(y.name) ? -1 : 1))} FROM "${table}" ` +
    `ORDER BY ${names(key)}`;
}

function textOf(row: Record<string, unknown>): string {
  return JSON.stringify(row, (_, value) => value instanceof Uint8Array ? value.toHex() : value);
}
