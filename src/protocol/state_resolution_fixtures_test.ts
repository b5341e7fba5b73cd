/** Runs tests/fixtures/state_resolution: each file holds a room, some state sets, what they resolve to and what that proves. */
import assert from "node:assert/strict";
import { type StateKey, stateKeyOf } from "./event.ts";
import type { EventId } from "./ids.ts";
import { resolveState } from "./state_resolution.ts";
import { applyResolution, toResolutionInput } from "./state_resolution_reference.ts";
import { rulesOf } from "./testing/auth_case.ts";
import { type EventSpec, keyOfEvent, makeEvent } from "./testing/room_dag.ts";

interface Fixture {
  readonly proves: string;
  readonly events: readonly EventSpec[];
  readonly stateSets: readonly (readonly string[])[];
  readonly rejected?: readonly EventId[];
  /** Keys are `type|state_key`; null means that the resolved state has no value. */
  readonly expect: readonly { versions: readonly string[]; state: Readonly<Record<string, string | null>> }[];
}

const FOLDER = new URL("../../tests/fixtures/state_resolution/", import.meta.url);

async function resolveFixture(fixture: Fixture, version: string): Promise<Map<StateKey, EventId>> {
  const events = new Map(fixture.events.map((spec) => {
    const event = makeEvent(rulesOf(version), spec);
    return [event.eventId, event] as const;
  }));
  const find = (id: string): NonNullable<ReturnType<typeof events.get>> => {
    const event = events.get(id as EventId);
    assert.ok(event !== undefined, `no event ${id}`);
    return event;
  };
  const sets = fixture.stateSets.map((ids) => new Map(ids.map((id) => [keyOfEvent(find(id)), id as EventId])));
  const input = toResolutionInput({
    sets,
    events,
    createEvent: find("$create"),
    rejected: new Set(fixture.rejected),
  });
  return applyResolution(sets[0] ?? new Map(), {
    conflicted: input.conflicted.keys(),
    resolved: await resolveState(input),
  });
}

for (const { name } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  const fixture = JSON.parse(Deno.readTextFileSync(new URL(name, FOLDER))) as Fixture;
  Deno.test(`state resolution: ${name.replace(".json", "")}: ${fixture.proves}`, async () => {
    for (const { versions, state } of fixture.expect) {
      for (const version of versions) {
        const resolved = await resolveFixture(fixture, version);
        for (const [key, expected] of Object.entries(state)) {
          const [type = "", stateKey = ""] = key.split("|");
          assert.equal(resolved.get(stateKeyOf(type, stateKey)) ?? null, expected, `${key} in version ${version}`);
        }
      }
    }
  });
}
