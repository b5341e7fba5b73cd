/**
 * Push rules. Spec: client-server API, "Push Rules: API".
 *   GET /pushrules/, /pushrules/global/
 *   GET, PUT, DELETE /pushrules/global/{kind}/{ruleId}
 *   GET, PUT /pushrules/global/{kind}/{ruleId}/enabled
 *   GET, PUT /pushrules/global/{kind}/{ruleId}/actions
 */
import { z } from "zod";
import { badJson, invalidParam, missingParam, unrecognized } from "../../protocol/errors.ts";
import { isStorable, MAX_ID_BYTES } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import { areActions, PUSH_RULE_KINDS, type PushRuleKind, renderPushRule } from "../../protocol/push_rules.ts";
import type { NewPushRule, PushRuleRef, PushRulesService } from "../../services/push_rules.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject, withoutNulls } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface PushRuleRoutesDeps {
  readonly auth: Auth;
  readonly pushRules: PushRulesService;
}

const RULE = "/pushrules/global/:kind/:ruleId";
const MAX_CONDITIONS = 100;
const MAX_PATTERN_BYTES = 1_024;

/** Registers the push rule endpoints. */
export function pushRuleRoutes(app: App, { auth, pushRules }: PushRuleRoutesDeps): void {
  client(app)
    .get("/pushrules/", auth.user(), async (c) => json(await pushRules.content(requester(c).userId)))
    .get("/pushrules/global/", auth.user(), async (c) => {
      const { global } = await pushRules.content(requester(c).userId);
      return json(global ?? {});
    })
    .get(RULE, auth.user(), async (c) => json(renderPushRule(await pushRules.get(ruleOf(c)))))
    .put(RULE, auth.user(), async (c) => {
      const body = await readJsonObject(c);
      await pushRules.put(parseRule(c, body));
      return json({});
    })
    .delete(RULE, auth.user(), async (c) => {
      await pushRules.delete(ruleOf(c));
      return json({});
    })
    .get(`${RULE}/enabled`, auth.user(), async (c) => {
      return json({ enabled: (await pushRules.get(ruleOf(c))).enabled });
    })
    .put(`${RULE}/enabled`, auth.user(), async (c) => {
      const { enabled } = await readJson(c, z.looseObject({ enabled: z.boolean() }));
      await pushRules.update(ruleOf(c), { enabled });
      return json({});
    })
    .get(`${RULE}/actions`, auth.user(), async (c) => {
      return json({ actions: [...(await pushRules.get(ruleOf(c))).actions] });
    })
    .put(`${RULE}/actions`, auth.user(), async (c) => {
      await pushRules.update(ruleOf(c), { actions: parseActions(await readJsonObject(c)) });
      return json({});
    });
}

function ruleOf(c: Ctx): PushRuleRef {
  const kind = c.req.param("kind") ?? "";
  const ruleId = c.req.param("ruleId") ?? "";
  if (!(PUSH_RULE_KINDS as readonly string[]).includes(kind)) throw unrecognized();
  if (!isStorable(ruleId, MAX_ID_BYTES) || ruleId === "" || /[/\\]/.test(ruleId)) {
    throw invalidParam("A rule id has 1 to 255 bytes and no slashes");
  }
  return { userId: requester(c).userId, kind: kind as PushRuleKind, ruleId };
}

function parseActions(body: JsonObject): NewPushRule["actions"] {
  if (body.actions === undefined) throw missingParam("actions");
  if (!areActions(body.actions)) throw badJson('"actions" must be a list of known actions');
  return body.actions;
}

function parseRule(c: Ctx, body: JsonObject): NewPushRule {
  const ref = ruleOf(c);
  const places = searchParams(c);
  const rule = { ...ref, actions: parseActions(body), before: places.get("before"), after: places.get("after") };
  const { pattern = null } = body;
  if (pattern !== null && (typeof pattern !== "string" || !isStorable(pattern, MAX_PATTERN_BYTES))) {
    throw badJson(`"pattern" must be a string of at most ${MAX_PATTERN_BYTES} bytes`);
  }
  const given = body.conditions ?? [];
  if (!Array.isArray(given) || given.length > MAX_CONDITIONS || !given.every(isCondition)) {
    throw badJson('"conditions" must be a list of conditions');
  }
  const conditions = given.map(withoutNullFields);
  if (ref.kind === "override" || ref.kind === "underride") return { ...rule, conditions };
  if (ref.kind !== "content") return rule;
  if (pattern === null) throw missingParam("pattern");
  return { ...rule, pattern };
}

/** Conditions of kinds that are not known are kept, and hold for no event; their own fields may be anything. */
function isCondition(value: unknown): value is JsonObject {
  if (!isJsonObject(value) || typeof value.kind !== "string") return false;
  const areNames = [value.key, value.pattern, value.is].every((one) => typeof (one ?? "") === "string");
  return areNames && (typeof value.value !== "object" || value.value === null);
}

function withoutNullFields(condition: JsonObject): JsonObject {
  return condition.value === null ? { ...withoutNulls(condition), value: null } : withoutNulls(condition);
}
