#!/usr/bin/env node
// deno-lint-ignore-file synapse-ts/max-positional default-param-last -- unchanged, so that figures stay comparable
// Measures any Matrix homeserver through its client-server API alone, so that servers can be held side by side.
//   load.mjs BASE_URL [--secret REGISTRATION_SHARED_SECRET] [--pid PID,PID] [--scenarios send,fanout,...] [--json FILE]
// Scenarios print one line each; figures are medians/totals of this run only: compare servers in one run on one machine.
import http from "node:http";
import https from "node:https";
import crypto from "node:crypto";
import fs from "node:fs";
import { parseArgs } from "node:util";

const { values: opt, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    secret: { type: "string" },
    pid: { type: "string", default: "" },
    scenarios: { type: "string", default: "send,sendc,fanout,rooms,initsync,incsync,messages,todevice" },
    json: { type: "string" },
    n: { type: "string", default: "1000" },
  },
});
const base = new URL(positionals[0] ?? "http://127.0.0.1:8008");
const N = Number(opt.n);
const agent = new (base.protocol === "https:" ? https : http).Agent({ keepAlive: true, maxSockets: 4096 });
const results = {};

function call(method, path, body, token, { timeout = 120000 } = {}) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const req = (base.protocol === "https:" ? https : http).request({
      agent,
      method,
      host: base.hostname,
      port: base.port,
      path,
      timeout,
      headers: {
        ...(data ? { "content-type": "application/json", "content-length": data.length } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
    }, (res) => {
      const parts = [];
      res.on("data", (d) => parts.push(d));
      res.on("end", () => {
        const text = Buffer.concat(parts).toString();
        let json;
        try {
          json = JSON.parse(text);
        } catch {
          json = { raw: text.slice(0, 200) };
        }
        resolve({ status: res.statusCode, json, bytes: text.length });
      });
    });
    req.on("error", reject);
    req.on("timeout", () => req.destroy(new Error("timeout")));
    if (data) req.write(data);
    req.end();
  });
}
async function ok(...args) {
  for (let attempt = 0;; attempt++) {
    const r = await call(...args);
    if (r.status === 429 && attempt < 50) {
      await sleep((r.json.retry_after_ms ?? 200) + 10);
      results.rate_limited = (results.rate_limited ?? 0) + 1;
      continue;
    }
    if (r.status >= 300) {
      throw new Error(`${args[0]} ${args[1]} -> ${r.status} ${JSON.stringify(r.json).slice(0, 300)}`);
    }
    return r.json;
  }
}
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const run = crypto.randomBytes(4).toString("hex");
let counter = 0;

async function register(name = `u${run}${counter++}`) {
  const password = "correct horse battery staple";
  if (opt.secret) {
    const { nonce } = await ok("GET", "/_synapse/admin/v1/register");
    const mac = crypto.createHmac("sha1", opt.secret).update([nonce, name, password, "notadmin"].join("\0")).digest(
      "hex",
    );
    const r = await ok("POST", "/_synapse/admin/v1/register", { nonce, username: name, password, admin: false, mac });
    return { id: r.user_id, token: r.access_token, device: r.device_id };
  }
  const first = await call("POST", "/_matrix/client/v3/register", { username: name, password });
  if (first.status === 200) {
    return { id: first.json.user_id, token: first.json.access_token, device: first.json.device_id };
  }
  const r = await ok("POST", "/_matrix/client/v3/register", {
    username: name,
    password,
    auth: { type: "m.login.dummy", session: first.json.session },
  });
  return { id: r.user_id, token: r.access_token, device: r.device_id };
}
const createRoom = (u, extra = {}) =>
  ok("POST", "/_matrix/client/v3/createRoom", { preset: "public_chat", ...extra }, u.token).then((r) => r.room_id);
const join = (u, room) => ok("POST", `/_matrix/client/v3/join/${encodeURIComponent(room)}`, {}, u.token);
const send = (u, room, text, txn = `t${counter++}`) =>
  ok("PUT", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/${txn}`, {
    msgtype: "m.text",
    body: text,
  }, u.token);
const sync = (u, since, timeout = 0, filter) =>
  ok(
    "GET",
    `/_matrix/client/v3/sync?timeout=${timeout}${since ? `&since=${encodeURIComponent(since)}` : ""}${
      filter ? `&filter=${encodeURIComponent(JSON.stringify(filter))}` : ""
    }`,
    undefined,
    u.token,
  );

const ms = () => performance.now();
const quant = (xs, q) => [...xs].sort((a, b) => a - b)[Math.min(xs.length - 1, Math.floor(xs.length * q))];
function rss() {
  let total = 0;
  for (const pid of opt.pid.split(",").filter(Boolean)) {
    try {
      total += Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
    } catch { /* gone */ }
  }
  return Math.round(total);
}
function report(name, figures) {
  results[name] = { ...figures, rss_mb: rss() };
  console.log(
    name.padEnd(10),
    Object.entries(results[name]).map(([k, v]) => `${k}=${typeof v === "number" ? Math.round(v * 100) / 100 : v}`).join(
      "  ",
    ),
  );
}
async function pool(n, tasks) {
  let at = 0;
  await Promise.all(Array.from({ length: n }, async () => {
    while (at < tasks.length) await tasks[at++]();
  }));
}

const scenarios = {
  async send() { // sequential sends in one room
    const u = await register();
    const room = await createRoom(u);
    await send(u, room, "warm");
    const lat = [];
    const t0 = ms();
    for (let i = 0; i < N; i++) {
      const s = ms();
      await send(u, room, `message ${i}`);
      lat.push(ms() - s);
    }
    report("send", { per_s: N / ((ms() - t0) / 1000), p50_ms: quant(lat, .5), p99_ms: quant(lat, .99) });
  },
  async sendc() { // ten users, ten rooms, concurrently
    const users = [];
    for (let i = 0; i < 10; i++) users.push(await register());
    const rooms = [];
    for (const u of users) rooms.push(await createRoom(u));
    const lat = [];
    const t0 = ms();
    await Promise.all(users.map(async (u, k) => {
      for (let i = 0; i < N / 5; i++) {
        const s = ms();
        await send(u, rooms[k], `message ${i}`);
        lat.push(ms() - s);
      }
    }));
    report("sendc", { per_s: lat.length / ((ms() - t0) / 1000), p50_ms: quant(lat, .5), p99_ms: quant(lat, .99) });
  },
  async send1c() { // ten users in ONE room, concurrently
    const users = [];
    for (let i = 0; i < 10; i++) users.push(await register());
    const room = await createRoom(users[0]);
    for (const u of users.slice(1)) await join(u, room);
    const lat = [];
    const t0 = ms();
    await Promise.all(users.map(async (u) => {
      for (let i = 0; i < N / 5; i++) {
        const s = ms();
        await send(u, room, `message ${i}`);
        lat.push(ms() - s);
      }
    }));
    report("send1c", { per_s: lat.length / ((ms() - t0) / 1000), p50_ms: quant(lat, .5), p99_ms: quant(lat, .99) });
  },
  async fanout() { // one sender, 50 long-polling members: time from send until the last one has it
    const users = [];
    for (let i = 0; i < 51; i++) users.push(await register());
    const room = await createRoom(users[0]);
    for (const u of users.slice(1)) await join(u, room);
    const since = await Promise.all(users.slice(1).map((u) => sync(u, null).then((r) => r.next_batch)));
    const spans = [];
    for (let round = 0; round < 20; round++) {
      const waits = users.slice(1).map((u, k) =>
        (async () => {
          for (;;) {
            const r = await sync(u, since[k], 30000);
            since[k] = r.next_batch;
            const events = r.rooms?.join?.[room]?.timeline?.events ?? [];
            if (events.some((e) => e.content?.body === `round ${round}`)) return ms();
          }
        })()
      );
      await sleep(30);
      const s = ms();
      await send(users[0], room, `round ${round}`);
      spans.push(Math.max(...await Promise.all(waits)) - s);
    }
    report("fanout", { last_of_50_p50_ms: quant(spans, .5), p95_ms: quant(spans, .95) });
  },
  async rooms() { // create and join
    const u = await register();
    const v = await register();
    let t0 = ms();
    const made = [];
    for (let i = 0; i < 100; i++) made.push(await createRoom(u));
    const create = (ms() - t0) / 100;
    t0 = ms();
    for (const r of made) await join(v, r);
    report("rooms", { create_ms: create, join_ms: (ms() - t0) / made.length });
  },
  async initsync() { // initial sync of a user in 200 rooms of 100 members, each with 20 messages
    const R = Number(process.env.ROOMS ?? 200), M = Number(process.env.MEMBERS ?? 100);
    const users = [];
    for (let i = 0; i < M; i++) users.push(await register());
    const rooms = [];
    const t0 = ms();
    await pool(
      4,
      Array.from({ length: R }, () => async () => {
        const room = await createRoom(users[0]);
        rooms.push(room);
        for (const u of users.slice(1)) await join(u, room);
        for (let i = 0; i < 20; i++) await send(users[i % M], room, `m ${i}`);
      }),
    );
    const setup = (ms() - t0) / 1000;
    const full = [];
    const lazy = [];
    let bytes = 0;
    for (let i = 0; i < 5; i++) {
      const s = ms();
      const r = await call("GET", "/_matrix/client/v3/sync?timeout=0", undefined, users[i + 1].token);
      full.push(ms() - s);
      bytes = r.bytes;
    }
    for (let i = 0; i < 5; i++) {
      const s = ms();
      await sync(users[i + 6], null, 0, { room: { state: { lazy_load_members: true }, timeline: { limit: 20 } } });
      lazy.push(ms() - s);
    }
    report("initsync", {
      setup_s: setup,
      joins_per_s: R * M / setup,
      full_ms: quant(full, .5),
      full_mb: bytes / 1e6,
      lazy_ms: quant(lazy, .5),
    });
    scenarios.state = { users, rooms };
  },
  async incsync() { // incremental sync after one message, user in many rooms; 0 changes and 1 change
    const { users, rooms } = scenarios.state ?? await (await scenarios.initsync(), scenarios.state);
    const u = users[1];
    let { next_batch } = await sync(u, null);
    const idle = [], one = [];
    for (let i = 0; i < 50; i++) {
      const s = ms();
      next_batch = (await sync(u, next_batch, 0)).next_batch;
      idle.push(ms() - s);
    }
    for (let i = 0; i < 50; i++) {
      await send(users[0], rooms[i % rooms.length], `x${i}`);
      const s = ms();
      next_batch = (await sync(u, next_batch, 0)).next_batch;
      one.push(ms() - s);
    }
    report("incsync", { idle_p50_ms: quant(idle, .5), one_p50_ms: quant(one, .5) });
  },
  async sliding() { // simplified sliding sync, first window of 20 rooms
    const { users } = scenarios.state ?? await (await scenarios.initsync(), scenarios.state);
    const times = [];
    for (let i = 0; i < 10; i++) {
      const s = ms();
      await ok("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0", {
        conn_id: `c${i}`,
        lists: {
          all: {
            ranges: [[0, 19]],
            timeline_limit: 20,
            required_state: [["m.room.name", ""], ["m.room.member", "$LAZY"], ["m.room.create", ""]],
          },
        },
      }, users[12 + i].token);
      times.push(ms() - s);
    }
    report("sliding", { first_window_p50_ms: quant(times, .5) });
  },
  async messages() { // back-pagination through 2000 messages, 100 a page
    const u = await register();
    const room = await createRoom(u);
    await pool(10, Array.from({ length: 2000 }, (_, i) => () => send(u, room, `m${i}`)));
    const pages = [];
    let from = "";
    for (let i = 0; i < 20; i++) {
      const s = ms();
      const r = await ok(
        "GET",
        `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100${
          from && `&from=${encodeURIComponent(from)}`
        }`,
        undefined,
        u.token,
      );
      pages.push(ms() - s);
      from = r.end;
      if (!from) break;
    }
    report("messages", { page100_p50_ms: quant(pages, .5), pages: pages.length });
  },
  async todevice() {
    const a = await register(), b = await register();
    const t0 = ms();
    const n = N / 2;
    await pool(
      10,
      Array.from({ length: n }, (_, i) => () =>
        ok(
          "PUT",
          `/_matrix/client/v3/sendToDevice/m.test/${run}${i}`,
          { messages: { [b.id]: { [b.device]: { i } } } },
          a.token,
        )),
    );
    const per = n / ((ms() - t0) / 1000);
    let got = 0, since;
    const s = ms();
    while (got < n) {
      const r = await sync(b, since, 0);
      since = r.next_batch;
      const k = r.to_device?.events?.length ?? 0;
      got += k;
      if (!k) break;
    }
    report("todevice", { sends_per_s: per, received: got, drain_ms: ms() - s });
  },
  async media() {
    const u = await register();
    const blob = crypto.randomBytes(1 << 20);
    const t0 = ms();
    const n = 50;
    const ids = [];
    for (let i = 0; i < n; i++) {
      const r = await fetch(new URL("/_matrix/media/v3/upload", base), {
        method: "POST",
        body: blob,
        headers: { authorization: `Bearer ${u.token}`, "content-type": "application/octet-stream" },
      });
      ids.push((await r.json()).content_uri);
    }
    const up = n / ((ms() - t0) / 1000);
    const t1 = ms();
    for (const uri of ids) {
      const [, , server, id] = uri.split("/");
      const r = await fetch(new URL(`/_matrix/client/v1/media/download/${server}/${id}`, base), {
        headers: { authorization: `Bearer ${u.token}` },
      });
      await r.arrayBuffer();
    }
    report("media", { upload_mb_s: up, download_mb_s: n / ((ms() - t1) / 1000) });
  },
};
for (const name of opt.scenarios.split(",")) {
  try {
    await scenarios[name]();
  } catch (e) {
    results[name] = { error: String(e.message) };
    console.log(name.padEnd(10), "ERROR", e.message);
  }
}
if (opt.json) fs.writeFileSync(opt.json, JSON.stringify(results, null, 1));
agent.destroy();
