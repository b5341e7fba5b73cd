/** What people see of a room before they are in it. Spec: client-server API, "Stripped state". */
import type { EventStore } from "./event_store.ts";
import type { LocalMembership } from "./local_memberships.ts";
import type { EventRenderer } from "./renderer.ts";
import type { StateReader } from "./state_reader.ts";

/** What stripped state is read from. */
export interface StrippedStateDeps {
  readonly events: EventStore;
  readonly state: StateReader;
  readonly renderer: EventRenderer;
}

/** Returns the stripped state that goes with an invitation or a knock, as the text of a JSON array. */
export async function strippedState(
  { events, state, renderer }: StrippedStateDeps,
  entry: LocalMembership,
): Promise<string> {
  const own = await events.getByNid(entry.eventNid);
  if (entry.strippedState !== null) {
    const given = entry.strippedState.trim();
    if (own === null || given === "[]" || given === "") return own === null ? "[]" : `[${renderer.strippedText(own)}]`;
    return `${given.slice(0, -1)},${renderer.strippedText(own)}]`;
  }
  if (own === null) return "[]";
  const root = own.stateBefore ?? 0;
  const inviter = await state.get(root, "m.room.member", own.event.sender);
  const found = new Set([...await state.prejoin(root), ...(inviter === null ? [] : [inviter])]);
  const texts = [...found].filter(({ nid }) => nid !== own.nid).map((stored) =>
    stored.event.type === "m.room.create" ? renderer.strippedCreateText(stored) : renderer.strippedText(stored)
  );
  return `[${[...texts, renderer.strippedText(own)].join(",")}]`;
}
