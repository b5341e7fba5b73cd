/**
 * What state resolution works on. The caller keeps state and auth chains; the algorithms ask for what they need.
 */
import type { VerifyThirdPartyInvite } from "./auth_rules_context.ts";
import type { RoomEvent, StateKey } from "./event.ts";
import type { EventId } from "./ids.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** The state sets to resolve, seen through their differences. */
export interface StateResolutionInput {
  readonly rules: RoomVersionRules;
  /** For each key on which the sets differ, its value in each set in the same order; undefined where a set has none. */
  readonly conflicted: ReadonlyMap<StateKey, readonly (EventId | undefined)[]>;
  /** Returns the value of a key on which all sets agree; undefined when none has it. */
  readonly unconflicted: (key: StateKey) => Promise<EventId | undefined>;
  /** Loads events; those that are unknown are left out of the result. */
  readonly loadEvents: (ids: readonly EventId[]) => Promise<ReadonlyMap<EventId, RoomEvent>>;
  /**
   * Tells whether an event that `loadEvents` returned was rejected; such an event gives others no authority.
   * None was, where this is absent.
   */
  readonly isRejected?: (id: EventId) => boolean;
  /**
   * Returns the auth difference of the complete sets: events in the full auth chain of some sets, but not of all.
   *
   * The events of a set count as part of its auth chain. The spec does not say so, but all servers do: it keeps an
   * event that all sets have, but that only some of their other events rest on, out of the conflict.
   */
  readonly authDifference: () => Promise<readonly EventId[]>;
  /** Returns the events on paths between the given ones along `auth_events`, with or without the ends (v2.1 only). */
  readonly conflictedSubgraph: (conflicted: readonly EventId[]) => Promise<readonly EventId[]>;
  readonly createEvent: RoomEvent;
  /** Replaces the check of third-party invites' signatures. */
  readonly verifyThirdPartyInvite?: VerifyThirdPartyInvite;
  /** Awaited now and then in long runs, so that the event loop is not held up. */
  readonly yieldToLoop?: () => Promise<void>;
}
