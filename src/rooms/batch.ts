/**
 * What is about to be written to one room: events built and authorized in memory one after another, each of which sees
 * what those before it did.
 *
 * Nothing here touches the room's copy or the database but to read. A task that fails is rolled back to the checkpoint
 * taken before it, so that it leaves no trace in the batch.
 */
import type { Clock } from "../lib/clock.ts";
import type { RandomText } from "../lib/random.ts";
import { inTurns } from "../lib/turn.ts";
import { selectAuthKeys } from "../protocol/auth_events.ts";
import { authorizeEvent } from "../protocol/auth_rules.ts";
import { forbidden } from "../protocol/errors.ts";
import type { BuiltEvent } from "../protocol/event_builder.ts";
import { type RoomEvent, splitStateKey, type StateKey, stateKeyOf } from "../protocol/event.ts";
import { MAX_PREV_EVENTS } from "../protocol/event_format.ts";
import { hasPolicySignature, isPolicyEvent } from "../protocol/policy_server.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";
import type { Signer } from "../protocol/signatures.ts";
import { buildAt, type EventPlace, type EventTemplate, previewEvent } from "./build.ts";
import type { IdAllocator } from "../storage/id_blocks.ts";
import type { StateKeys } from "../storage/interning.ts";
import type { NewStateNode, StateTrees } from "../storage/state_nodes.ts";
import type { TreeChange } from "../storage/state_tree.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import { Foresight } from "./foresight.ts";
import type { ExtraWrite, PendingEvent, TransactionKey } from "./pending.ts";
import { currentDeltas } from "./deltas.ts";
import { mayRedact } from "./redaction_rules.ts";
import { policyServerOf, PolicySignatureNeeded } from "./policy.ts";
import { takeSigned } from "./policy_places.ts";
import { type ResolveDeps, resolveRoots } from "./resolve.ts";
import { ABSENT, type RoomCopy } from "./room_heads.ts";
import { DELTAS_A_TURN, type StateDelta, StateDeltas } from "./state_deltas.ts";
import type { StoredEvent } from "./types.ts";

/** What a batch is built with. */
export interface BatchDeps extends ResolveDeps {
  readonly events: EventStore;
  readonly trees: StateTrees;
  readonly keys: StateKeys;
  readonly eventIds: IdAllocator;
  readonly roomIds: IdAllocator;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly randomText: RandomText;
}

/** Where a batch stood. */
export interface Checkpoint {
  readonly root: number;
  readonly extremities: readonly StoredEvent[];
  readonly pending: number;
  readonly writes: number;
  readonly nodes: number;
  readonly resolutions: number;
  readonly undo: number;
  readonly identity: RoomIdentity | null;
}

const CREATE = stateKeyOf("m.room.create", "");

/** Events for one room, in the making. */
export class RoomBatch {
  readonly rules: RoomVersionRules;
  readonly deps: BatchDeps;
  /** What has been asked for ahead of the events that are being taken in. */
  readonly foresight: Foresight;
  readonly #copy: RoomCopy | null;
  readonly #pending: PendingEvent[] = [];
  readonly #byNid = new Map<number, StoredEvent>();
  readonly #byId = new Map<EventId, StoredEvent>();
  readonly #writes: ExtraWrite[] = [];
  readonly #nodes: NewStateNode[] = [];
  readonly #resolutions: [key: string, root: number][] = [];
  /** The current state where it differs from the copy's. */
  readonly #changes = new Map<StateKey, StoredEvent | null>();
  readonly #undo: (readonly [StateKey, StoredEvent | null | undefined])[] = [];
  #identity: RoomIdentity | null;
  #root: number;
  #extremities: readonly StoredEvent[];
  #staged: { readonly stored: StoredEvent; readonly auth: readonly StoredEvent[] } | null = null;

  /** Starts from a room's copy, or from nothing for a new room. */
  constructor(
    deps: BatchDeps,
    from: RoomCopy | { readonly newRoom: RoomVersionRules; readonly roomId: RoomId | null },
  ) {
    this.deps = deps;
    this.foresight = new Foresight(deps);
    if ("newRoom" in from) {
      this.#copy = null;
      this.rules = from.newRoom;
      this.#identity = null;
      this.#root = 0;
      this.#extremities = [];
      this.#newRoomId = from.roomId;
    } else {
      this.#copy = from;
      this.rules = from.identity.rules;
      this.#identity = from.identity;
      this.#root = from.stateRoot;
      this.#extremities = from.extremities;
    }
  }

  readonly #newRoomId: RoomId | null = null;
  /** Events of the task at hand that the room's policy server has signed: `append` takes them from here. */
  signedByPolicy: BuiltEvent[] = [];

  /** The copy it started from; null for a new room. */
  get copy(): RoomCopy | null {
    return this.#copy;
  }

  /** The room; a new one has an identity once its create event is there. */
  get room(): RoomIdentity {
    if (this.#identity === null) throw new Error("The room has no create event yet");
    return this.#identity;
  }

  get pending(): readonly PendingEvent[] {
    return this.#pending;
  }

  get writes(): readonly ExtraWrite[] {
    return this.#writes;
  }

  /** Nodes of the state tree that the batch refers to and that are to be written with it. */
  get nodes(): readonly NewStateNode[] {
    return this.#nodes;
  }

  /** Root of the current state with the batch. */
  get root(): number {
    return this.#root;
  }

  get extremities(): readonly StoredEvent[] {
    return this.#extremities;
  }

  /** The changes of the current state. */
  get changes(): ReadonlyMap<StateKey, StoredEvent | null> {
    return this.#changes;
  }

  get isEmpty(): boolean {
    return this.#pending.length === 0 && this.#writes.length === 0;
  }

  /** The resolutions made for the batch: they hold once its nodes are written. */
  get resolutions(): readonly (readonly [key: string, root: number])[] {
    return this.#resolutions;
  }

  /** Remembers the outcome of a resolution by its inputs. */
  addResolution(key: string, root: number): void {
    this.#resolutions.push([key, root]);
  }

  /** Adds a write to the transaction. */
  addWrite(write: ExtraWrite): void {
    this.#writes.push(write);
  }

  checkpoint(): Checkpoint {
    return {
      root: this.#root,
      extremities: this.#extremities,
      pending: this.#pending.length,
      writes: this.#writes.length,
      nodes: this.#nodes.length,
      resolutions: this.#resolutions.length,
      undo: this.#undo.length,
      identity: this.#identity,
    };
  }

  /** Takes back all that was done since the checkpoint. */
  rollback(to: Checkpoint): void {
    this.#root = to.root;
    this.#extremities = to.extremities;
    this.#identity = to.identity;
    for (const { stored } of [...this.#pending.splice(to.pending), ...(this.#staged === null ? [] : [this.#staged])]) {
      this.#byNid.delete(stored.nid);
      this.#byId.delete(stored.event.eventId);
    }
    this.#staged = null;
    this.#writes.splice(to.writes);
    this.#nodes.splice(to.nodes);
    this.#resolutions.splice(to.resolutions);
    for (const [key, value] of this.#undo.splice(to.undo).reverse()) {
      if (value === undefined) this.#changes.delete(key);
      else this.#changes.set(key, value);
    }
  }

  /** Returns a piece of the current state with the batch, or null. */
  async current(type: string, stateKey: string): Promise<StoredEvent | null> {
    return await this.currentByKey(stateKeyOf(type, stateKey));
  }

  /** Returns a piece of the current state with the batch, or null. */
  async currentByKey(key: StateKey): Promise<StoredEvent | null> {
    const changed = this.#changes.get(key);
    if (changed !== undefined) return changed;
    if (this.#copy === null) return null;
    const cached = this.#copy.state.get(key);
    if (cached !== undefined) return cached === ABSENT ? null : cached;
    const stored = await this.stateAt(this.#copy.stateRoot, key);
    this.#copy.state.set(key, stored ?? ABSENT);
    return stored;
  }

  /** Returns a piece of any state, in which events of the batch may be. */
  async stateAt(root: number, key: StateKey): Promise<StoredEvent | null> {
    const { keys, trees } = this.deps;
    const { type, stateKey } = splitStateKey(key);
    const keyNid = keys.peekNid(key) ?? await keys.nidOf(type, stateKey);
    if (keyNid === null) return null;
    const treeKey = { nid: keyNid, isMember: type === "m.room.member" };
    const peeked = trees.peek(root, treeKey);
    const nid = peeked === undefined ? await trees.get(root, treeKey) : peeked;
    return nid === null ? null : await this.byNid(nid);
  }

  /** Returns the root of a state with one more event in it, whose nodes are written with the batch. */
  async setState(root: number, changes: readonly TreeChange[]): Promise<number> {
    const state = await this.deps.trees.setMany(root, changes);
    this.#nodes.push(...state.nodes);
    return state.root;
  }

  /** Returns the numeric id of a state key. */
  async intern(type: string, stateKey: string): Promise<number> {
    const key = stateKeyOf(type, stateKey);
    const nid = this.deps.keys.peekNid(key) ?? (await this.deps.keys.intern([key])).get(key);
    if (nid === undefined) throw new Error(`No numeric id for state of type ${type}`);
    return nid;
  }

  /** Returns an event of the batch or of the database. */
  async byNid(nid: number): Promise<StoredEvent | null> {
    return this.#byNid.get(nid) ?? await this.deps.events.getByNid(nid);
  }

  /** Returns the events of the batch and of the database with these numeric ids. */
  async byNids(nids: readonly number[]): Promise<Map<number, StoredEvent>> {
    const found = await this.deps.events.byNid(nids.filter((nid) => !this.#byNid.has(nid)));
    for (const nid of nids) {
      const stored = this.#byNid.get(nid);
      if (stored !== undefined) found.set(nid, stored);
    }
    return found;
  }

  /** Returns the events of the batch and of the database with these ids. */
  async byId(ids: readonly EventId[]): Promise<Map<EventId, StoredEvent>> {
    const pending = ids.filter((id) => this.#byId.has(id));
    const written = ids.filter((id) => !this.#byId.has(id) && !this.foresight.isAbsent(id));
    const found = await this.deps.events.byId(written);
    for (const id of pending) {
      const stored = this.#byId.get(id);
      if (stored !== undefined) found.set(id, stored);
    }
    return found;
  }

  /** Returns a user's membership in the current state with the batch, or null. */
  async membershipOf(userId: UserId): Promise<string | null> {
    const member = await this.current("m.room.member", userId);
    const membership = member?.event.content["membership"];
    return typeof membership === "string" ? membership : null;
  }

  /**
   * Builds an event on the ends of the room's graph, authorizes it against the current state and adds it.
   * Throws `M_FORBIDDEN` when the rules refuse it, `PolicySignatureNeeded` when the policy server has not seen it.
   */
  async append(template: EventTemplate, transaction: TransactionKey | null = null): Promise<StoredEvent> {
    const { place, create, before } = await this.plan(template);
    const policy = isPolicyEvent(template) ? null : await policyServerOf(this);
    if (policy === null) {
      const built = buildAt(template, place);
      return await this.#addBuilt({ ...built, prev: place.prev, auth: place.auth, create, before, transaction });
    }
    const signed = await takeSigned(this, template);
    if (signed === null || !hasPolicySignature(signed.event, policy)) {
      throw new PolicySignatureNeeded(buildAt(template, place), policy);
    }
    const state = await this.#stateBefore(signed.prev);
    return await this.#addBuilt({ ...signed, create, before: state, transaction });
  }

  /** Finds the place of an event on the ends of the graph and authorizes it there, without adding it. */
  async plan(
    template: EventTemplate,
  ): Promise<{ place: EventPlace; create: StoredEvent | null; before: number }> {
    const prev = this.#extremities.slice(0, MAX_PREV_EVENTS);
    const before = await this.#stateBefore(prev);
    const state = new Map<StateKey, RoomEvent>();
    const auth: StoredEvent[] = [];
    for (const key of selectAuthKeys(this.rules, template)) {
      const stored = await this.#at(before, key);
      if (stored === null) continue;
      state.set(key, stored.event);
      auth.push(stored);
    }
    const create = template.type === "m.room.create" ? null : await this.#at(before, CREATE);
    const place: EventPlace = {
      rules: this.rules,
      roomId: this.#identity?.roomId ?? this.#newRoomId,
      prev,
      auth,
      now: this.deps.clock.now(),
      signer: this.deps.signer,
      randomText: this.deps.randomText,
    };
    const decision = authorizeEvent({
      event: previewEvent(template, place),
      create: create?.event ?? null,
      authState: (type, stateKey) => state.get(stateKeyOf(type, stateKey)),
      verifyThirdPartyInvite,
    });
    if (!decision.allowed) throw forbidden(decision.reason);
    return { place, create, before };
  }

  /** Builds an event behind another one, which also is all that authorizes it: for rooms that this server is not in. */
  buildBehind(template: EventTemplate, parent: StoredEvent): BuiltEvent {
    const { signer, clock, randomText } = this.deps;
    const { roomId } = this.room;
    const place = { rules: this.rules, roomId, prev: [parent], auth: [parent], now: clock.now(), signer, randomText };
    return buildAt(template, place);
  }

  /** The current state, but for events that are not behind all ends of the room. */
  async #stateBefore(prev: readonly StoredEvent[]): Promise<number> {
    const ends = new Set(this.#extremities.map(({ nid }) => nid));
    if (prev.length === ends.size && prev.every(({ nid }) => ends.has(nid))) return this.#root;
    return await resolveRoots(this.deps, { batch: this, roots: prev.map(({ stateAfter }) => stateAfter ?? 0) });
  }

  async #at(root: number, key: StateKey): Promise<StoredEvent | null> {
    return root === this.#root ? await this.currentByKey(key) : await this.stateAt(root, key);
  }

  /** Lets an event that is about to be added be found, as resolving the state after it needs. */
  stage(stored: StoredEvent, auth: readonly StoredEvent[]): void {
    this.#staged = { stored, auth };
    this.#register(stored);
  }

  /** Lets an event of the database be seen as it is about to be: for batches of a single task. */
  replace(stored: StoredEvent): void {
    this.#register(stored);
  }

  /** The events of the batch with their auth events, the staged one included. */
  get unwritten(): readonly { readonly stored: StoredEvent; readonly auth: readonly StoredEvent[] }[] {
    return this.#staged === null ? this.#pending : [...this.#pending, this.#staged];
  }

  /** Adds an event after which the current state is not simply that of before and the event. */
  async addResolved(
    pending: PendingEvent,
    after: { root: number; extremities: readonly StoredEvent[] },
  ): Promise<void> {
    const { all, areMany } = pending.deltas;
    if (areMany) { for await (const part of inTurns(all, DELTAS_A_TURN)) this.#changeAll(part); }
    else this.#changeAll(all);
    this.#push(pending);
    this.#root = after.root;
    this.#extremities = after.extremities;
  }

  async #addBuilt(
    { create, prev, transaction, ...built }: BuiltEvent & {
      auth: readonly StoredEvent[];
      before: number;
      prev: readonly StoredEvent[];
      create: StoredEvent | null;
      transaction: TransactionKey | null;
    },
  ): Promise<StoredEvent> {
    const { auth } = built;
    const stored = await this.#makeStored(built);
    const behind = new Set(prev.map(({ nid }) => nid));
    const extremities = [stored, ...this.#extremities.filter(({ nid }) => !behind.has(nid))];
    const redacts = stored.event.redacts === null ? null : await this.#redactionTarget(stored, create);
    const pending = { stored, prev, missingPrev: [], auth, wasOutlier: false, transaction, redacts };
    if (extremities.length > 1) {
      this.stage(stored, auth);
      const root = await resolveRoots(this.deps, { batch: this, roots: extremities.map((end) => end.stateAfter ?? 0) });
      const deltas = await currentDeltas(this, { root, stored });
      await this.addResolved({ ...pending, deltas }, { root, extremities });
      return stored;
    }
    this.#push({ ...pending, deltas: await this.#takeCurrent(stored) });
    this.#root = stored.stateAfter ?? 0;
    this.#extremities = extremities;
    return stored;
  }

  async #makeStored(
    { event, json, auth, before }: BuiltEvent & { auth: readonly StoredEvent[]; before: number },
  ): Promise<StoredEvent> {
    const { eventIds, roomIds, clock } = this.deps;
    this.#identity ??= { roomNid: await roomIds.next(), roomId: event.roomId, rules: this.rules };
    const nid = eventIds.tryNext() ?? await eventIds.next();
    let stateKeyNid: number | null = null;
    let after = before;
    if (event.stateKey !== null) {
      stateKeyNid = await this.intern(event.type, event.stateKey);
      const isMember = event.type === "m.room.member";
      after = await this.setState(before, [{ nid: stateKeyNid, isMember, eventNid: nid }]);
    }
    return {
      nid,
      roomNid: this.#identity.roomNid,
      event,
      json,
      position: null,
      receivedTs: clock.now(),
      isOutlier: false,
      isRejected: false,
      isSoftFailed: false,
      stateBefore: before,
      stateAfter: after,
      stateKeyNid,
      authRank: rankAfter(auth),
      redactedByNid: null,
    };
  }

  /** Makes a state event current; returns the change. */
  async #takeCurrent(stored: StoredEvent): Promise<StateDeltas> {
    const { type, stateKey } = stored.event;
    if (stateKey === null || stored.stateKeyNid === null) return StateDeltas.NONE;
    const key = stateKeyOf(type, stateKey);
    const before = await this.currentByKey(key);
    this.#change(key, stored);
    const delta = { stateKeyNid: stored.stateKeyNid, type, stateKey, before, after: stored };
    return StateDeltas.of([delta], this.deps.signer.serverName);
  }

  #changeAll(deltas: readonly StateDelta[]): void {
    for (const { type, stateKey, after } of deltas) this.#change(stateKeyOf(type, stateKey), after);
  }

  #change(key: StateKey, stored: StoredEvent | null): void {
    this.#undo.push([key, this.#changes.get(key)]);
    this.#changes.set(key, stored);
  }

  async #redactionTarget(redaction: StoredEvent, create: StoredEvent | null): Promise<StoredEvent | null> {
    const { redacts } = redaction.event;
    const target = redacts === null ? undefined : (await this.byId([redacts])).get(redacts);
    if (target === undefined || target.roomNid !== redaction.roomNid || target.redactedByNid !== null) return null;
    if (create === null) return null;
    const powerLevels = await this.current("m.room.power_levels", "");
    const levels = { create: create.event, powerLevels: powerLevels?.event };
    return mayRedact(redaction.event, { target: target.event, levels }) ? target : null;
  }

  #push(pending: PendingEvent): void {
    this.#staged = null;
    this.#pending.push(pending);
    this.#register(pending.stored);
  }

  #register(stored: StoredEvent): void {
    this.#byNid.set(stored.nid, stored);
    this.#byId.set(stored.event.eventId, stored);
  }
}

/** Returns the rank of an event with these auth events: every auth edge leads to a lower rank. */
export function rankAfter(auth: readonly StoredEvent[]): number {
  return auth.reduce((rank, { authRank }) => Math.max(rank, authRank), 0) + 1;
}
