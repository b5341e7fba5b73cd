#!/usr/bin/env node
// How costs grow: with the rooms of an account, the members of a room, the clients that wait. Prints ratios, which are
// what to compare; the milliseconds are of this machine on this day.
//   growth.mjs BASE_URL --secret REGISTRATION_SHARED_SECRET [--pid PID] [--scenarios rooms,members,polls] [--json FILE]
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import { parseArgs } from "node:util";

const { values: opt, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    secret: { type: "string" },
    pid: { type: "string" },
    scenarios: { type: "string", default: "rooms,members,polls" },
    polls: { type: "string", default: "5000" },
    json: { type: "string" },
  },
});
const base = new URL(positionals[0] ?? "http://127.0.0.1:8008");
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
const run = crypto.randomBytes(3).toString("hex");
const results = {};
let counter = 0;
const SENDS = 200;
const SYNCS = 100;
const WINDOWS = 20;
/** So many requests of a kind run before those that are measured. */
const WARM_UP = 400;

function call(method, path, { body, token } = {}) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = {
      ...(data ? { "content-type": "application/json", "content-length": data.length } : {}),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    };
    const request = http.request({ agent, method, host: base.hostname, port: base.port, path, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        const text = Buffer.concat(parts).toString();
        if (response.statusCode >= 300) {
          return reject(new Error(`${method} ${path}: ${response.statusCode} ${text.slice(0, 200)}`));
        }
        resolve(JSON.parse(text));
      });
    });
    request.on("error", reject);
    request.end(data);
  });
}

async function register() {
  const username = `g${run}${counter++}`;
  const password = "growth";
  const { nonce } = await call("GET", "/_synapse/admin/v1/register");
  const mac = crypto.createHmac("sha1", opt.secret).update([nonce, username, password, "notadmin"].join("\0")).digest(
    "hex",
  );
  const user = await call("POST", "/_synapse/admin/v1/register", {
    body: { nonce, username, password, admin: false, mac },
  });
  return { id: user.user_id, token: user.access_token };
}

const client = "/_matrix/client/v3";
const createRoom = async (user) =>
  (await call("POST", `${client}/createRoom`, { body: { preset: "public_chat" }, token: user.token })).room_id;
const join = (user, room) =>
  call("POST", `${client}/join/${encodeURIComponent(room)}`, { body: {}, token: user.token });
const send = (user, room, body = "growth") =>
  call("PUT", `${client}/rooms/${encodeURIComponent(room)}/send/m.room.message/${run}${counter++}`, {
    body: { msgtype: "m.text", body },
    token: user.token,
  });
const sync = (user, since, timeout = 0) =>
  call("GET", `${client}/sync?timeout=${timeout}${since ? `&since=${encodeURIComponent(since)}` : ""}`, {
    token: user.token,
  });
const slide = (user) =>
  call("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0", {
    body: {
      conn_id: `c${counter++}`,
      lists: {
        all: {
          ranges: [[0, 19]],
          timeline_limit: 20,
          required_state: [["m.room.name", ""], ["m.room.member", "$LAZY"], ["m.room.create", ""]],
        },
      },
    },
    token: user.token,
  });

async function pool({ size, count }, work) {
  let next = 0;
  await Promise.all(Array.from({ length: size }, async () => {
    while (next < count) await work(next++);
  }));
}
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
async function time(rounds, work) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await work(round);
    times.push(performance.now() - start);
  }
  return median(times);
}
function rssKiB() {
  if (!opt.pid) return 0;
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${opt.pid}/status`, "utf8"))?.[1] ?? 0);
}
/** Milliseconds of CPU that the server has used, all its threads together; 0 without --pid. */
function cpuMs() {
  if (!opt.pid) return 0;
  let ns = 0;
  for (const task of fs.readdirSync(`/proc/${opt.pid}/task`)) {
    try {
      ns += Number(fs.readFileSync(`/proc/${opt.pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
    } catch { // The thread has ended.
    }
  }
  return ns / 1e6;
}
function report(name, figures) {
  results[name] = figures;
  console.log(
    name.padEnd(9),
    Object.entries(figures).map(([key, value]) => `${key}=${Math.round(value * 100) / 100}`).join("  "),
  );
}

/** What an account in so many rooms pays for a sync after one message, and for the first sliding window. */
async function measureRooms(host, size) {
  const user = await register();
  const rooms = [];
  await pool({ size: 10, count: size }, async () => {
    const room = await createRoom(host);
    await join(user, room);
    await send(host, room);
    rooms.push(room);
  });
  let { next_batch: since } = await sync(user);
  const [times, cpus, windows, windowCpus] = [[], [], [], []];
  for (let round = 0; round < SYNCS; round++) {
    await send(host, rooms[round % size]);
    const cpu = cpuMs();
    times.push(await time(1, async () => since = (await sync(user, since)).next_batch));
    cpus.push(cpuMs() - cpu);
  }
  for (let round = 0; round < WINDOWS; round++) {
    const cpu = cpuMs();
    windows.push(await time(1, () => slide(user)));
    windowCpus.push(cpuMs() - cpu);
  }
  return {
    [`sync_${size}_ms`]: median(times),
    [`sync_${size}_cpu_ms`]: median(cpus),
    [`sliding_${size}_ms`]: median(windows),
    [`sliding_${size}_cpu_ms`]: median(windowCpus),
  };
}

/** What sending into a room of so many members costs. */
async function measureMembers(size) {
  const host = await register();
  const room = await createRoom(host);
  await pool({ size: 10, count: size }, async () => join(await register(), room));
  await time(WARM_UP, () => send(host, room));
  const cpu = cpuMs();
  const ms = await time(SENDS, () => send(host, room));
  return { [`send_${size}_ms`]: ms, [`send_${size}_cpu_ms`]: (cpuMs() - cpu) / SENDS };
}

/** Has all users wait for a message to the room; returns how many heard of it, how long the last took, and what it cost. */
async function measureWaking({ host, room, users, poll }, body) {
  let woken = 0;
  const before = rssKiB();
  // They come within a few seconds, as after a restart of the server, not within one millisecond.
  const finished = users.map(async (user, index) => {
    await new Promise((resolve) => setTimeout(resolve, index));
    for (;;) {
      const answer = await poll(user, 60000);
      user.since = answer.next_batch;
      if ((answer.rooms?.join?.[room]?.timeline?.events ?? []).some(({ content }) => content?.body === body)) break;
    }
    woken++;
    return performance.now();
  });
  await new Promise((resolve) => setTimeout(resolve, users.length + 5000));
  const kibEach = (rssKiB() - before) / users.length;
  const cpu = cpuMs();
  const start = performance.now();
  await send(host, room, body);
  const last = Math.max(...await Promise.all(finished)) - start;
  return { clients: users.length, woken, kib_each: kibEach, last_ms: last, cpu_ms: cpuMs() - cpu };
}

const scenarios = {
  /** Incremental sync after one message, and the first sliding window, of accounts in 20, 200 and 2,000 rooms. */
  async rooms() {
    const host = await register();
    // Else the first size pays for compiling what the others run.
    for (let round = 0; round < WARM_UP / SYNCS; round++) await measureRooms(host, 20);
    const figures = {};
    for (const size of [20, 200, 2000]) Object.assign(figures, await measureRooms(host, size));
    for (const name of ["sync", "sliding"]) {
      for (const unit of ["ms", "cpu_ms"]) {
        figures[`${name}_${unit}_ratio`] = figures[`${name}_2000_${unit}`] / figures[`${name}_20_${unit}`];
      }
    }
    report("rooms", figures);
  },
  /** Sending into rooms of 100 and of 10,000 members. */
  async members() {
    const figures = { ...await measureMembers(100), ...await measureMembers(10000) };
    for (const unit of ["ms", "cpu_ms"]) {
      figures[`send_${unit}_ratio`] = figures[`send_10000_${unit}`] / figures[`send_100_${unit}`];
    }
    report("members", figures);
  },
  /** Many clients that wait: what each costs, and how long until the last of them has a message. */
  async polls() {
    const count = Number(opt.polls);
    const host = await register();
    const room = await createRoom(host);
    const users = [];
    await pool({ size: 10, count: count }, async () => {
      const user = await register();
      await join(user, room);
      users.push(user);
    });
    const filter = encodeURIComponent(JSON.stringify({
      presence: { types: [] },
      room: { state: { lazy_load_members: true }, timeline: { limit: 1 } },
    }));
    const poll = (user, timeout) =>
      call("GET", `${client}/sync?filter=${filter}&timeout=${timeout}${user.since ? `&since=${user.since}` : ""}`, {
        token: user.token,
      });
    await pool({ size: 10, count: count }, async (index) => {
      users[index].since = (await poll(users[index], 0)).next_batch;
    });
    // The memory is that of the first time, before which there were no connections; the time is that of the second.
    const first = await measureWaking({ host, room, users, poll }, "first");
    const second = await measureWaking({ host, room, users, poll }, "second");
    report("polls", { ...second, first_last_ms: first.last_ms, first_cpu_ms: first.cpu_ms, kib_each: first.kib_each });
  },
};
for (const name of opt.scenarios.split(",")) await scenarios[name]();
if (opt.json) fs.writeFileSync(opt.json, JSON.stringify(results, null, 1));
agent.destroy();
