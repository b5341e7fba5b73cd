/** Push rules that users made or changed. */
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { DefaultRuleChange, PushRule, PushRuleKind } from "../protocol/push_rules.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A rule with its kind and its place in it. */
export interface StoredPushRule {
  readonly kind: PushRuleKind;
  readonly priority: number;
  readonly rule: PushRule;
}

const MAX_RULES = 10_000;

/** Returns the rules a user made, the strongest of each kind first. */
export async function selectPushRules(db: Db, userId: UserId): Promise<StoredPushRule[]> {
  const rows = await db.all<{
    kind: PushRuleKind;
    rule_id: string;
    priority: number;
    enabled: boolean;
    actions: string;
    conditions: string | null;
    pattern: string | null;
  }>(sql`
    SELECT kind, rule_id, priority, enabled, actions, conditions, pattern FROM push_rules
    WHERE user_id = ${userId} ORDER BY kind, priority DESC LIMIT ${MAX_RULES}`);
  return rows.map((row) => ({
    kind: row.kind,
    priority: row.priority,
    rule: {
      ruleId: row.rule_id,
      isDefault: false,
      enabled: row.enabled,
      actions: JSON.parse(row.actions) as JsonValue[],
      ...(row.conditions === null ? {} : { conditions: JSON.parse(row.conditions) as JsonObject[] }),
      ...(row.pattern === null ? {} : { pattern: row.pattern }),
    },
  }));
}

/** Returns what a user changed about predefined rules, by rule id. */
export async function selectPushRuleChanges(db: Db, userId: UserId): Promise<Map<string, DefaultRuleChange>> {
  const rows = await db.all<{ rule_id: string; enabled: boolean | null; actions: string | null }>(sql`
    SELECT rule_id, enabled, actions FROM push_rule_changes WHERE user_id = ${userId} LIMIT ${MAX_RULES}`);
  return new Map(rows.map((row) => [row.rule_id, {
    enabled: row.enabled,
    actions: row.actions === null ? null : JSON.parse(row.actions) as JsonValue[],
  }]));
}

/** Returns the users who made or changed any rule. */
export async function selectUsersWithPushRules(db: Db): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM push_rules UNION SELECT user_id FROM push_rule_changes LIMIT 10000000`);
  return rows.map((row) => row.user_id);
}

/** Stores a rule. */
export async function upsertPushRule(
  tx: Tx,
  { userId, kind, priority, rule }: StoredPushRule & { userId: UserId },
): Promise<void> {
  const conditions = rule.conditions === undefined ? null : JSON.stringify(rule.conditions);
  await tx.run(sql`
    INSERT INTO push_rules (user_id, kind, rule_id, priority, enabled, actions, conditions, pattern)
    VALUES (${userId}, ${kind}, ${rule.ruleId}, ${priority}, ${rule.enabled}, ${JSON.stringify(rule.actions)},
      ${conditions}, ${rule.pattern ?? null})
    ON CONFLICT (user_id, kind, rule_id) DO UPDATE SET priority = excluded.priority, enabled = excluded.enabled,
      actions = excluded.actions, conditions = excluded.conditions, pattern = excluded.pattern`);
}

/** Deletes a rule; returns false when there is none. */
export async function deletePushRule(
  tx: Tx,
  { userId, kind, ruleId }: { userId: UserId; kind: PushRuleKind; ruleId: string },
): Promise<boolean> {
  return await tx.run(sql`
    DELETE FROM push_rules WHERE user_id = ${userId} AND kind = ${kind} AND rule_id = ${ruleId}`) > 0;
}

/** Stores what a user changed about a predefined rule. */
export async function upsertPushRuleChange(
  tx: Tx,
  { userId, ruleId, change }: { userId: UserId; ruleId: string; change: DefaultRuleChange },
): Promise<void> {
  const actions = change.actions === null ? null : JSON.stringify(change.actions);
  await tx.run(sql`
    INSERT INTO push_rule_changes (user_id, rule_id, enabled, actions)
    VALUES (${userId}, ${ruleId}, ${change.enabled}, ${actions})
    ON CONFLICT (user_id, rule_id) DO UPDATE SET enabled = excluded.enabled, actions = excluded.actions`);
}

/** Deletes everything a user made or changed. */
export async function deletePushRulesOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.runMany([
    sql`DELETE FROM push_rules WHERE user_id = ${userId}`,
    sql`DELETE FROM push_rule_changes WHERE user_id = ${userId}`,
  ]);
}
