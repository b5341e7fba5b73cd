import assert from "node:assert/strict";
import fc from "fast-check";
import type { RoomEvent, StateKey, StateMap } from "./event.ts";
import type { EventId } from "./ids.ts";
import { getRoomVersion, listRoomVersions, type RoomVersionRules } from "./room_versions.ts";
import { resolveState } from "./state_resolution.ts";
import { applyResolution, toResolutionInput } from "./state_resolution_reference.ts";
import { type Action, growRoom } from "./testing/random_room.ts";
import { keyOfEvent, makeEvent, RoomDag } from "./testing/room_dag.ts";

const ACTIONS = fc.array(
  fc.record<Action>({
    branch: fc.nat(11),
    kind: fc.nat(13),
    actor: fc.nat(9),
    target: fc.nat(9),
    level: fc.nat(39),
    ts: fc.nat(29),
  }),
  { minLength: 10, maxLength: 80, size: "max" },
);
const VERSIONS = fc.constantFrom("1", "2", "6", "9", "11", "12").map(rulesOf);

function rulesOf(id: string): RoomVersionRules {
  const rules = getRoomVersion(id);
  if (rules === null) throw new Error(`unknown room version ${id}`);
  return rules;
}

async function resolveAll(
  sets: readonly StateMap<EventId>[],
  { events, createEvent }: { events: ReadonlyMap<EventId, RoomEvent>; createEvent: RoomEvent },
): Promise<Map<StateKey, EventId>> {
  const input = toResolutionInput({ sets, events, createEvent, verifyThirdPartyInvite: () => true });
  const resolved = await resolveState(input);
  return applyResolution(sets[0] ?? new Map(), { conflicted: input.conflicted.keys(), resolved });
}

function sorted(state: StateMap<EventId>): [StateKey, EventId][] {
  return [...state].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("resolveState() ignores the order of the state sets", async () => {
  await fc.assert(
    fc.asyncProperty(VERSIONS, ACTIONS, fc.nat(), async (rules, actions, turn) => {
      const { dag, branches } = growRoom(rules, actions);
      const room = { events: dag.events, createEvent: dag.create };
      const cut = turn % branches.length;
      const turned = [...branches.slice(cut), ...branches.slice(0, cut)].reverse();
      assert.deepEqual(sorted(await resolveAll(turned, room)), sorted(await resolveAll(branches, room)));
    }),
    { numRuns: 400 },
  );
});

Deno.test("resolveState() of equal sets is that set", async () => {
  await fc.assert(
    fc.asyncProperty(VERSIONS, ACTIONS, async (rules, actions) => {
      const { dag, branches } = growRoom(rules, actions);
      const room = { events: dag.events, createEvent: dag.create };
      const [branch] = branches;
      assert.ok(branch !== undefined);
      assert.deepEqual(sorted(await resolveAll([branch, branch, branch], room)), sorted(branch));
    }),
    { numRuns: 100 },
  );
});

Deno.test("resolveState() keeps what all sets agree on, and invents nothing", async () => {
  await fc.assert(
    fc.asyncProperty(VERSIONS, ACTIONS, async (rules, actions) => {
      const { dag, branches } = growRoom(rules, actions);
      const resolved = await resolveAll(branches, { events: dag.events, createEvent: dag.create });
      for (const [key, id] of resolved) {
        const event = dag.events.get(id);
        assert.ok(event !== undefined && keyOfEvent(event) === key);
      }
      const [first, ...others] = branches;
      for (const [key, id] of first ?? []) {
        if (others.every((branch) => branch.get(key) === id)) assert.equal(resolved.get(key), id);
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("resolveState() gives only events that their own auth events allow", async () => {
  await fc.assert(
    fc.asyncProperty(VERSIONS, ACTIONS, async (rules, actions) => {
      const { dag, branches } = growRoom(rules, actions);
      for (const id of (await resolveAll(branches, { events: dag.events, createEvent: dag.create })).values()) {
        const event = dag.events.get(id);
        assert.ok(event !== undefined);
        const own = new Map(event.authEvents.map((authId) => {
          const auth = dag.events.get(authId);
          assert.ok(auth !== undefined);
          return [keyOfEvent(auth), authId] as const;
        }));
        assert.deepEqual(dag.check(own, event), { allowed: true });
      }
    }),
    { numRuns: 100 },
  );
});

/** A room of 10,000 members in two states that differ in 100 keys: power levels, bans and names. */
function largeFork(rules: RoomVersionRules): { dag: RoomDag; sets: Map<StateKey, EventId>[] } {
  const dag = new RoomDag(rules, { creator: "@creator:a" });
  const state = dag.start();
  dag.send(state, {
    id: "$join",
    type: "m.room.member",
    sender: "@creator:a",
    stateKey: "@creator:a",
    content: { membership: "join" },
    prev: ["$create"],
  });
  dag.send(state, {
    id: "$rules",
    type: "m.room.join_rules",
    sender: "@creator:a",
    stateKey: "",
    content: { join_rule: "public" },
  });
  dag.send(state, {
    id: "$power",
    type: "m.room.power_levels",
    sender: "@creator:a",
    stateKey: "",
    content: { users: rules.privilegedCreators ? {} : { "@creator:a": 100 } },
  });
  for (let i = 0; i < 10_000; i++) {
    const user = `@u${i}:a`;
    dag.send(state, {
      id: `$u${i}`,
      type: "m.room.member",
      sender: user,
      stateKey: user,
      content: { membership: "join" },
      ts: i,
    });
  }
  const sets = [0, 1].map((side) => {
    const branch = new Map(state);
    dag.send(branch, {
      id: `$power${side}`,
      type: "m.room.power_levels",
      sender: "@creator:a",
      stateKey: "",
      content: { users: rules.privilegedCreators ? {} : { "@creator:a": 100 }, invite: side },
    });
    for (let i = 0; i < 99; i++) {
      const user = `@u${i}:a`;
      const content = i % 3 === 0 ? { membership: "ban" } : { membership: "join", displayname: `${side}` };
      dag.send(branch, {
        id: `$s${side}-${i}`,
        type: "m.room.member",
        sender: i % 3 === 0 ? "@creator:a" : user,
        stateKey: user,
        content,
        ts: 20_000 + i,
      });
    }
    return branch;
  });
  return { dag, sets };
}

for (const version of ["1", "10", "12"]) {
  Deno.test(`resolveState() looks at little of two states of 10,000 entries with 100 conflicts in version ${version}`, async () => {
    const { dag, sets } = largeFork(rulesOf(version));
    const input = toResolutionInput({ sets, events: dag.events, createEvent: dag.create });
    assert.equal(input.conflicted.size, 100);
    const loaded: EventId[] = [];
    const asked: StateKey[] = [];
    const resolved = await resolveState({
      ...input,
      loadEvents: (ids) => {
        loaded.push(...ids);
        return input.loadEvents(ids);
      },
      unconflicted: (key) => {
        asked.push(key);
        return input.unconflicted(key);
      },
    });
    assert.equal(resolved.size, 100);
    assert.equal(new Set(loaded).size, loaded.length, "each event is loaded once");
    // The two values of each key, what those rest on, and a few keys that authorize all.
    assert.ok(loaded.length <= 400, `${loaded.length} events`);
    assert.ok(asked.length <= 200, `${asked.length} keys`);
  });
}

Deno.test("resolveState() yields to the event loop in long runs", async () => {
  const { dag, sets } = largeFork(rulesOf("10"));
  let yields = 0;
  const yieldToLoop = (): Promise<void> => {
    yields++;
    return Promise.resolve();
  };
  await resolveState({ ...toResolutionInput({ sets, events: dag.events, createEvent: dag.create }), yieldToLoop });
  assert.ok(yields > 0);
});

Deno.test("resolveState() ignores events of other rooms and message events", async () => {
  for (const rules of listRoomVersions()) {
    const dag = new RoomDag(rules, { creator: "@creator:a" });
    const state = dag.start();
    dag.send(state, {
      id: "$join",
      type: "m.room.member",
      sender: "@creator:a",
      stateKey: "@creator:a",
      content: { membership: "join" },
      prev: ["$create"],
    });
    const alien = makeEvent(rules, {
      id: "$alien",
      type: "m.room.topic",
      sender: "@creator:a",
      stateKey: "",
      auth: ["$create", "$join"],
      room: "!other",
    });
    dag.events.set(alien.eventId, alien);
    const forged = new Map(state).set(keyOfEvent(alien), alien.eventId);
    const resolved = await resolveAll([state, forged], { events: dag.events, createEvent: dag.create });
    assert.deepEqual(sorted(resolved), sorted(state));
  }
});
