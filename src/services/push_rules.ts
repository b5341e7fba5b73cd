/**
 * A user's push rules. Spec: client-server API, "Push Rules: API".
 *
 * Rules a user made are tried before the predefined ones of the same kind. Rulesets are kept in memory: they are asked
 * for at every event for every user who has rules of their own.
 */
import { ReadCache } from "../lib/read_cache.ts";
import { invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import {
  buildRuleset,
  defaultPushRules,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
  renderRuleset,
} from "../protocol/push_rules.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deletePushRule,
  deletePushRulesOfUser,
  selectPushRuleChanges,
  selectPushRules,
  selectUsersWithPushRules,
  type StoredPushRule,
  upsertPushRule,
  upsertPushRuleChange,
} from "../storage/push_rules.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface PushRulesDeps {
  readonly db: Database;
  readonly notifier: Notifier;
  /** Look for mentions in texts too, by the rules that the spec dropped: Synapse does unless `msc4210_enabled`. */
  readonly bodyMentions: boolean;
  /** Have the rules for threads that users follow (MSC4306). */
  readonly followedThreads: boolean;
}

/** Names a rule. */
export interface PushRuleRef {
  readonly userId: UserId;
  readonly kind: PushRuleKind;
  readonly ruleId: string;
}

/** A rule to add, and where: after or before another of the user's own; first otherwise. */
export interface NewPushRule extends PushRuleRef {
  readonly actions: readonly JsonValue[];
  readonly conditions?: readonly JsonObject[];
  readonly pattern?: string;
  readonly before: string | null;
  readonly after: string | null;
}

const MAX_RULES_PER_USER = 1_000;
const MAX_CACHED_RULESETS = 50_000;

/** Reads and changes push rules. */
export class PushRulesService {
  readonly #db: Database;
  readonly #notifier: Notifier;
  readonly #rulesets = new ReadCache<UserId, PushRuleset>({ name: "push_rules", maxEntries: MAX_CACHED_RULESETS });
  readonly #customized: Set<UserId>;
  readonly #changedAt = new Map<UserId, number>();
  readonly #startedAt: number;
  readonly bodyMentions: boolean;
  readonly followedThreads: boolean;
  /** The rules of nobody in particular. */
  readonly predefined: PushRuleset;

  private constructor({ db, notifier, bodyMentions, followedThreads }: PushRulesDeps, customized: Set<UserId>) {
    this.#db = db;
    this.bodyMentions = bodyMentions;
    this.followedThreads = followedThreads;
    this.predefined = defaultPushRules("@:" as UserId, { bodyMentions, followedThreads });
    this.#notifier = notifier;
    this.#customized = customized;
    this.#startedAt = notifier.position("push_rules");
  }

  /** Loads who has rules of their own. */
  static async load(deps: PushRulesDeps): Promise<PushRulesService> {
    return new PushRulesService(deps, new Set(await selectUsersWithPushRules(deps.db)));
  }

  /** The users whose rules differ from the predefined ones. */
  get customizedUsers(): ReadonlySet<UserId> {
    return this.#customized;
  }

  /** Returns all rules of a user in the order in which they are tried. */
  async ruleset(userId: UserId): Promise<PushRuleset> {
    return await this.#rulesets.get(userId, async () => {
      const own = await selectPushRules(this.#db, userId);
      const changes = await selectPushRuleChanges(this.#db, userId);
      const { bodyMentions, followedThreads } = this;
      return buildRuleset(userId, { own: groupByKind(own), changes, bodyMentions, followedThreads });
    });
  }

  /** Returns the content of `m.push_rules`. */
  async content(userId: UserId): Promise<JsonObject> {
    return renderRuleset(await this.ruleset(userId));
  }

  /**
   * Tells whether a user's rules changed in `(after, upTo]` of their stream. What changed before this process started
   * counts as changed: the client gets the same rules once more.
   */
  hasChanged({ userId, after, upTo }: { userId: UserId; after: number; upTo: number }): boolean {
    const changedAt = this.#changedAt.get(userId) ?? (this.#customized.has(userId) ? this.#startedAt : 0);
    return changedAt > after && changedAt <= upTo;
  }

  /** Returns one rule. Throws 404 when there is none. */
  async get({ userId, kind, ruleId }: PushRuleRef): Promise<PushRule> {
    const rule = (await this.ruleset(userId))[kind].find((other) => other.ruleId === ruleId);
    if (!rule) throw notFound("Push rule not found");
    return rule;
  }

  /** Adds a rule or replaces the one of the same id. Throws 400 when its place or name is wrong. */
  async put(rule: NewPushRule): Promise<void> {
    if (rule.kind === "postcontent") throw invalidParam("Users cannot make rules of this kind");
    if (rule.ruleId.startsWith(".")) {
      throw invalidParam("The ids of your own rules cannot start with a dot");
    }
    await this.#change(rule.userId, async (tx) => {
      const stored = await selectPushRules(tx, rule.userId);
      const siblings = stored.filter((other) => other.kind === rule.kind && other.rule.ruleId !== rule.ruleId);
      if (stored.length >= MAX_RULES_PER_USER) throw new MatrixError(400, "M_LIMIT_EXCEEDED", "Too many push rules");
      const old = stored.find((other) => other.kind === rule.kind && other.rule.ruleId === rule.ruleId);
      const moves = rule.before !== null || rule.after !== null;
      const ordered = moves || !old ? place(siblings, rule) : null;
      const made = toRule(rule, old?.rule.enabled ?? true);
      if (old && ordered === null) {
        await upsertPushRule(tx, { userId: rule.userId, kind: rule.kind, priority: old.priority, rule: made });
        return;
      }
      await renumber(tx, { rule, made, ordered: ordered ?? siblings });
    });
  }

  /** Deletes a rule of the user's own. Throws 404 when there is none. */
  async delete(ref: PushRuleRef): Promise<void> {
    await this.#change(ref.userId, async (tx) => {
      if (!await deletePushRule(tx, ref)) throw notFound("Push rule not found");
    });
  }

  /** Switches a rule on or off, or replaces its actions. Throws 404 when there is none. */
  async update(
    ref: PushRuleRef,
    { enabled, actions }: { enabled?: boolean; actions?: readonly JsonValue[] },
  ): Promise<void> {
    const { userId, kind, ruleId } = ref;
    await this.get(ref);
    await this.#change(userId, async (tx) => {
      if (ruleId.startsWith(".")) {
        const old = (await selectPushRuleChanges(tx, userId)).get(ruleId);
        const change = { enabled: enabled ?? old?.enabled ?? null, actions: actions ?? old?.actions ?? null };
        await upsertPushRuleChange(tx, { userId, ruleId, change });
        return;
      }
      const stored = (await selectPushRules(tx, userId)).find((own) => own.kind === kind && own.rule.ruleId === ruleId);
      if (!stored) throw notFound("Push rule not found");
      const rule = { ...stored.rule, enabled: enabled ?? stored.rule.enabled, actions: actions ?? stored.rule.actions };
      await upsertPushRule(tx, { ...stored, userId, rule });
    });
  }

  /** Has a user's rules about one room hold for another too; rules that the other has already stay. */
  async copyRoomRules({ userId, from, to }: { userId: UserId; from: RoomId; to: RoomId }): Promise<void> {
    if (!this.#customized.has(userId)) return;
    const stored = await selectPushRules(this.#db, userId);
    const wanted = stored.flatMap((own) => movedRule(own, { from, to }) ?? []);
    const missing = wanted.filter(({ kind, rule }) =>
      !stored.some((own) => own.kind === kind && own.rule.ruleId === rule.ruleId)
    );
    if (missing.length === 0 || stored.length + missing.length > MAX_RULES_PER_USER) return;
    await this.#change(userId, async (tx) => {
      for (const rule of missing) await upsertPushRule(tx, { ...rule, userId });
    });
  }

  /** Removes all rules of a user, within a transaction. */
  async deleteAll(tx: Tx, userId: UserId): Promise<void> {
    await deletePushRulesOfUser(tx, userId);
    tx.afterCommit(() => {
      this.#rulesets.forget(userId);
      this.#customized.delete(userId);
      this.#changedAt.delete(userId);
    });
  }

  async #change(userId: UserId, write: (tx: Tx) => Promise<void>): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await write(tx);
      const position = await advanceStream(tx, "push_rules", 1);
      tx.afterCommit(() => {
        this.#rulesets.forget(userId);
        this.#customized.add(userId);
        this.#changedAt.set(userId, position);
        this.#notifier.publish("push_rules", position, [userId]);
      });
    });
  }
}

/** Returns a rule about a room as it is about another one; null for a rule about something else. */
function movedRule(
  { kind, priority, rule }: StoredPushRule,
  { from, to }: { from: RoomId; to: RoomId },
): StoredPushRule | null {
  if (kind === "room") return rule.ruleId === from ? { kind, priority, rule: { ...rule, ruleId: to } } : null;
  const isAbout = (condition: JsonObject) =>
    condition.kind === "event_match" && condition.key === "room_id" && condition.pattern === from;
  if (rule.conditions?.some(isAbout) !== true) return null;
  const conditions = rule.conditions.map((condition) => isAbout(condition) ? { ...condition, pattern: to } : condition);
  return { kind, priority, rule: { ...rule, ruleId: to, conditions } };
}

function groupByKind(stored: readonly StoredPushRule[]): Partial<Record<PushRuleKind, PushRule[]>> {
  const groups: Partial<Record<PushRuleKind, PushRule[]>> = {};
  for (const { kind, rule } of stored) (groups[kind] ??= []).push(rule);
  return groups;
}

function toRule({ ruleId, actions, conditions, pattern }: NewPushRule, enabled: boolean): PushRule {
  return {
    ruleId,
    isDefault: false,
    enabled,
    actions,
    ...(conditions === undefined ? {} : { conditions }),
    ...(pattern === undefined ? {} : { pattern }),
  };
}

/** Returns the siblings, strongest first, with a gap (null) where the rule goes. Throws 400 for an unknown neighbour. */
function place(siblings: readonly StoredPushRule[], rule: NewPushRule): (StoredPushRule | null)[] {
  const ordered: (StoredPushRule | null)[] = [...siblings];
  const neighbour = rule.before ?? rule.after;
  if (neighbour === null) return [null, ...ordered];
  const at = siblings.findIndex((other) => other.rule.ruleId === neighbour);
  if (at < 0) throw invalidParam(`There is no rule "${neighbour.slice(0, 255)}" of this kind to place the rule by`);
  ordered.splice(rule.before === null ? at + 1 : at, 0, null);
  return ordered;
}

async function renumber(
  tx: Tx,
  { rule, made, ordered }: { rule: NewPushRule; made: PushRule; ordered: readonly (StoredPushRule | null)[] },
): Promise<void> {
  for (const [index, stored] of ordered.entries()) {
    const priority = ordered.length - index;
    if (stored === null) await upsertPushRule(tx, { userId: rule.userId, kind: rule.kind, priority, rule: made });
    else if (stored.priority !== priority) await upsertPushRule(tx, { ...stored, userId: rule.userId, priority });
  }
}
