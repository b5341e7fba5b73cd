/** Which state people are shown before they are in a room: what the spec lists, and `room_prejoin_state`. */
import { type StateKey, stateKeyOf } from "../protocol/event.ts";
import { STRIPPED_STATE_TYPES } from "../protocol/stripped_state.ts";

/** A choice of state. */
export interface PrejoinState {
  readonly keys: readonly StateKey[];
  /** Types of which every state key is shown. */
  readonly types: ReadonlySet<string>;
}

/** The options, by Synapse's names. */
export interface PrejoinOptions {
  readonly disableDefaultEventTypes: boolean;
  readonly additionalEventTypes: readonly { readonly type: string; readonly stateKey: string | null }[];
}

/** What is shown where nothing is configured. */
export const DEFAULT_PREJOIN_STATE: PrejoinState = {
  keys: STRIPPED_STATE_TYPES.map((type) => stateKeyOf(type, "")),
  types: new Set(),
};

/** Returns what a configuration chooses. The create event is always in it: the spec requires it. */
export function prejoinStateOf({ disableDefaultEventTypes, additionalEventTypes }: PrejoinOptions): PrejoinState {
  const usual = disableDefaultEventTypes ? [stateKeyOf("m.room.create", "")] : DEFAULT_PREJOIN_STATE.keys;
  const exact = additionalEventTypes.flatMap(({ type, stateKey }) =>
    stateKey === null ? [] : [stateKeyOf(type, stateKey)]
  );
  const types = additionalEventTypes.flatMap(({ type, stateKey }) => stateKey === null ? [type] : []);
  return { keys: [...new Set([...usual, ...exact])], types: new Set(types) };
}
