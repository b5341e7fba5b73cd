/** A room that the user sees from outside: an invitation, a knock, or the end of one. Spec: MSC4186, "RoomResult". */
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import { strippedState, type StrippedStateDeps } from "../../rooms/stripped_state.ts";
import { formatRoomToken } from "../../streams/tokens.ts";
import { LIVE, NEVER, type RoomRecord } from "./connections.ts";
import type { RoomResult } from "./room_result.ts";
import type { WantedRoom } from "./types.ts";
import type { SlidingView } from "./view.ts";

/** What such rooms are read from. */
export type StrippedDeps = StrippedStateDeps;

/** Returns what to tell of the room. */
export async function strippedResult(
  deps: StrippedDeps,
  { view, room, known }: { view: SlidingView; room: WantedRoom; known: RoomRecord | undefined },
): Promise<RoomResult> {
  const { entry, lists } = room;
  const isDm = view.direct.has(entry.roomId);
  const state = await strippedState(deps, entry);
  let text = `"notification_count":0,"highlight_count":0,"bump_stamp":${entry.position},` +
    `"membership":"${entry.membership}","initial":true`;
  if (lists.length > 0) text += `,"lists":${JSON.stringify(lists)}`;
  if (isDm || known?.isDm === true) text += `,"is_dm":${isDm}`;
  text += namesOf(JSON.parse(state));
  text += `,"invite_state":${state},"stripped_state":${state}`;
  const isOver = entry.membership === "leave" || entry.membership === "ban";
  if (isOver) text += await endText(deps, { view, room });
  return {
    text: `{${text}}`,
    record: {
      events: LIVE,
      receipts: NEVER,
      accountData: known?.accountData ?? NEVER,
      shown: isOver ? "leave" : "stripped",
      timelineLimit: 0,
      profiles: NEVER,
      isDm,
      selection: room.state,
    },
    members: [],
    resetsMembers: true,
    isInitial: true,
    eventIds: [],
    speakers: new Set(),
  };
}

/** The event that ended it is the user's own affair: it is shown whole, as everything else about the room is not. */
async function endText(deps: StrippedDeps, { view, room }: { view: SlidingView; room: WantedRoom }): Promise<string> {
  const own = await deps.events.getByNid(room.entry.eventNid);
  if (own === null) return "";
  const { requester } = view.request;
  const [text] = await deps.renderer.render([own], { requester, roomId: false, previous: false });
  const isSelected = room.state.selects("m.room.member", requester.userId);
  const prevBatch = formatRoomToken({ kind: "stream", position: room.entry.position - 1 });
  return `,"required_state":[${isSelected ? text : ""}],"timeline":[${text}],"limited":false,"num_live":0,` +
    `"prev_batch":"${prevBatch}"`;
}

function namesOf(events: unknown): string {
  const contents = new Map<unknown, JsonObject>();
  for (const event of Array.isArray(events) ? events as JsonValue[] : []) {
    if (isJsonObject(event) && event.state_key === "" && isJsonObject(event.content)) {
      contents.set(event.type, event.content);
    }
  }
  const name = contents.get("m.room.name")?.name;
  const avatar = contents.get("m.room.avatar")?.url;
  let text = typeof name === "string" && name !== "" ? `,"name":${JSON.stringify(name)}` : "";
  if (typeof avatar === "string" && avatar !== "") text += `,"avatar":${JSON.stringify(avatar)}`;
  return text;
}
