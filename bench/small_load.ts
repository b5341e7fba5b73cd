/** A mixed load of a small homeserver's people, for small.ts: they sync, write, read, look back and upload. */
import { createHmac } from "node:crypto";
import { REGISTRATION_SECRET } from "./servers.ts";

/** Somebody with an access token. */
export interface Person {
  readonly id: string;
  readonly token: string;
}

/** How much there is. */
export interface Size {
  readonly users: number;
  readonly rooms: number;
  /** Members of the one big room. */
  readonly members: number;
}

/** The rooms that the load happens in. */
export interface World {
  readonly people: readonly Person[];
  /** Who is in which room, the big one first. */
  readonly rooms: readonly { readonly id: string; readonly people: readonly Person[] }[];
}

const SMALL_ROOM_MEMBERS = 5;
const AT_ONCE = 8;
const UPLOAD_BYTES = 50_000;

/** Calls one server. */
export class Api {
  readonly #base: string;
  #failures = 0;
  #calls = 0;

  constructor(base: string) {
    this.#base = base;
  }

  get calls(): number {
    return this.#calls;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Calls and returns the body; throws for any other status than 200. */
  async call(
    method: string,
    path: string,
    { token, body, signal }: { token?: string; body?: unknown; signal?: AbortSignal } = {},
  ): Promise<Record<string, unknown>> {
    this.#calls++;
    const response = await fetch(`${this.#base}${path}`, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      body: body === undefined ? null : body instanceof Uint8Array ? body as BodyInit : JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await response.text();
    if (response.status === 200) return JSON.parse(text);
    this.#failures++;
    throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 200)}`);
  }

  /** Registers somebody by the shared secret. */
  async register(username: string): Promise<Person> {
    const { nonce } = await this.call("GET", "/_synapse/admin/v1/register");
    const password = "small";
    const text = [nonce, username, password, "notadmin"].join("\0");
    const mac = createHmac("sha1", REGISTRATION_SECRET).update(text).digest("hex");
    const body = { nonce, username, password, mac, admin: false };
    const { user_id, access_token } = await this.call("POST", "/_synapse/admin/v1/register", { body });
    return { id: String(user_id), token: String(access_token) };
  }

  async createRoom({ token }: Person, name: string): Promise<string> {
    const body = { name, preset: "public_chat" };
    return String((await this.call("POST", "/_matrix/client/v3/createRoom", { token, body })).room_id);
  }

  async join({ token }: Person, roomId: string): Promise<void> {
    await this.call("POST", `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, { token, body: {} });
  }
}

/** Runs `work` for each number below `count`, a few at once. */
async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async () => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
}

/** Makes accounts and rooms. */
export async function populate(api: Api, { users, rooms, members }: Size): Promise<World> {
  const people: Person[] = [];
  await inParallel(users, async (index) => void (people[index] = await api.register(`user${index}`)));
  const [first] = people;
  if (first === undefined) throw new Error("nobody is there");
  const bigRoom = await api.createRoom(first, "The big room");
  await inParallel(users - 1, async (index) => await api.join(people[index + 1] ?? first, bigRoom));
  await inParallel(members - users, async (index) => {
    await api.join(await api.register(`member${index}`), bigRoom);
  });
  const all: World["rooms"][number][] = [{ id: bigRoom, people }];
  await inParallel(rooms - 1, async (index) => {
    const inRoom = Array.from({ length: SMALL_ROOM_MEMBERS }, (_, n) => people[(index * 7 + n * 11) % users] ?? first);
    const there = [...new Set(inRoom)];
    const id = await api.createRoom(there[0] ?? first, `Room ${index}`);
    for (const person of there.slice(1)) await api.join(person, id);
    all.push({ id, people: there });
  });
  return { people, rooms: all };
}

/** Everybody syncs all the time, and one thing is done every `everyMs`, until the signal aborts. */
export async function load(
  api: Api,
  world: World,
  { everyMs, signal }: { everyMs: number; signal: AbortSignal },
): Promise<void> {
  const syncing = world.people.map((person) => syncOn(api, { person, signal }));
  const running = new Set<Promise<void>>();
  const started = performance.now();
  for (let count = 0; !signal.aborted; count++) {
    const action = act(api, { world, count }).catch((error) => console.error(String(error)));
    running.add(action);
    action.finally(() => running.delete(action));
    if (running.size > 50) await Promise.race(running);
    const wait = started + (count + 1) * everyMs - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  await Promise.all([...running, ...syncing]);
}

/** One person's client: it waits for news, and from time to time begins anew, as after a restart. */
async function syncOn(api: Api, { person: { token }, signal }: { person: Person; signal: AbortSignal }): Promise<void> {
  let since: string | null = null;
  for (let count = 1; !signal.aborted; count++) {
    const filter = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }));
    const from: string = since === null ? "" : `&since=${since}`;
    try {
      const path: string = `/_matrix/client/v3/sync?timeout=10000&filter=${filter}${from}`;
      since = String((await api.call("GET", path, { token, signal })).next_batch);
    } catch (error) {
      if (!signal.aborted) console.error(String(error));
    }
    if (count % 2_000 === 0) since = null;
  }
}

/** Does the next thing of a fixed order, so that two runs do the same. */
async function act(api: Api, { world: { rooms, people }, count }: { world: World; count: number }): Promise<void> {
  // One message in ten is for the big room.
  const room = rooms[count % 10 === 0 ? 0 : (count * 37) % rooms.length];
  const person = room?.people[(count * 13) % room.people.length];
  if (room === undefined || person === undefined) throw new Error("there is no room");
  const { token } = person;
  const at = `/_matrix/client/v3/rooms/${encodeURIComponent(room.id)}`;
  switch (count % 20) {
    case 3:
      return void await api.call("PUT", `${at}/typing/${encodeURIComponent(person.id)}`, {
        token,
        body: { typing: true, timeout: 5000 },
      });
    case 7:
    case 13:
      return void await api.call("GET", `${at}/messages?dir=b&limit=50`, { token });
    case 9: {
      const { chunk } = await api.call("GET", `${at}/messages?dir=b&limit=1`, { token });
      const [last] = chunk as { event_id: string }[];
      if (last === undefined) return;
      const path = `${at}/receipt/m.read/${encodeURIComponent(last.event_id)}`;
      return void await api.call("POST", path, { token, body: {} });
    }
    case 11:
      if (count % 100 === 11) return void await api.call("GET", `${at}/joined_members`, { token });
      return void await api.call("GET", `/_matrix/client/v3/profile/${encodeURIComponent(person.id)}`, { token });
    case 15: {
      const body = new Uint8Array(UPLOAD_BYTES).fill(count % 256);
      return void await api.call("POST", "/_matrix/media/v3/upload?filename=x.bin", { token, body });
    }
    case 17:
      return void await api.call("PUT", `/_matrix/client/v3/sendToDevice/m.test/small${count}`, {
        token,
        body: { messages: { [people[count % people.length]?.id ?? person.id]: { "*": { text: "x".repeat(500) } } } },
      });
    default:
      return void await api.call("PUT", `${at}/send/m.room.message/small${count}`, {
        token,
        body: { msgtype: "m.text", body: `Message ${count} `.repeat(1 + count % 10) },
      });
  }
}
