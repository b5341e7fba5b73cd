/**
 * Which of a user's push rules an event matches. Spec: client-server API, "Push Rules", "Conditions".
 *
 * The event is flattened once and then tried against many users' rules, so everything that does not depend on the user
 * is computed once and kept: values by key, compiled patterns, parsed keys.
 */
import type { RoomEvent } from "./event.ts";
import type { UserId } from "./ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import {
  BODY_MENTION_RULES,
  PUSH_RULE_KINDS,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
  THREAD_SUBSCRIPTION,
} from "./push_rules.ts";

/** What the conditions ask about besides the event. */
export interface PushContext {
  readonly event: RoomEvent;
  readonly memberCount: number;
  readonly senderPowerLevel: number;
  /** The content of the room's power levels event, empty when there is none. */
  readonly powerLevels: Readonly<JsonObject>;
}

/** For whom an event is judged. */
export interface PushUser {
  readonly userId: UserId;
  readonly displayName: string | null;
  /** Whether the user follows the thread that the event is in; null when it is in none. */
  readonly followsThread?: boolean | null;
}

/** What the rules say of an event for one user. */
export interface PushOutcome {
  readonly notify: boolean;
  readonly highlight: boolean;
  readonly actions: readonly JsonValue[];
}

const SILENT: PushOutcome = { notify: false, highlight: false, actions: [] };
const DEFAULT_NOTIFICATION_LEVEL = 50;
const MAX_PATTERN_LENGTH = 1_024;
const MAX_CACHED_PATTERNS = 10_000;

/** Patterns compiled before: a memo of a pure function, emptied when full. */
const PATTERNS = new Map<string, readonly RegExp[] | null>();
const KEY_PATHS = new Map<string, readonly string[]>();

/** Tries one event against the rules of many users. */
export class PushEvaluator {
  readonly #context: PushContext;
  readonly #values = new Map<string, JsonValue | undefined>();
  readonly #view: JsonObject;
  readonly #hasMentions: boolean;

  constructor(context: PushContext) {
    this.#context = context;
    const { event } = context;
    this.#hasMentions = Object.hasOwn(event.content, "m.mentions");
    this.#view = {
      ...event.pdu,
      room_id: event.roomId,
      sender: event.sender,
      type: event.type,
      content: { ...event.content },
    };
  }

  /** Returns what the first matching rule of a user says. The user's own events never notify: leave them out. */
  evaluate(rules: PushRuleset, user: PushUser): PushOutcome {
    for (const kind of PUSH_RULE_KINDS) {
      for (const rule of rules[kind]) {
        if (rule.enabled && this.#matches(rule, kind, user)) return outcomeOf(rule);
      }
    }
    return SILENT;
  }

  #matches(rule: PushRule, kind: PushRuleKind, user: PushUser): boolean {
    const { event } = this.#context;
    // Who says whom they mention means nobody else. Spec: "Mentioning the user or room".
    if (this.#hasMentions && rule.isDefault && BODY_MENTION_RULES.has(rule.ruleId)) return false;
    if (kind === "room") return rule.ruleId === event.roomId;
    if (kind === "sender") return rule.ruleId === event.sender;
    if (kind === "content") return this.#matchesPattern("content.body", rule.pattern ?? "");
    return (rule.conditions ?? []).every((condition) => this.#holds(condition, user));
  }

  #holds(condition: JsonObject, user: PushUser): boolean {
    const { kind, key } = condition;
    switch (kind) {
      case "event_match":
        return typeof key === "string" && typeof condition.pattern === "string" &&
          this.#matchesPattern(key, condition.pattern);
      case "event_property_is":
        return typeof key === "string" && isScalar(condition.value) && this.#value(key) === condition.value;
      case "event_property_contains": {
        const list = typeof key === "string" ? this.#value(key) : undefined;
        return Array.isArray(list) && isScalar(condition.value) && list.includes(condition.value);
      }
      case "contains_display_name":
        return user.displayName !== null && user.displayName !== "" &&
          this.#matchesText("content.body", escapeGlob(user.displayName));
      case "room_member_count":
        return typeof condition.is === "string" && compares(condition.is, this.#context.memberCount);
      case "sender_notification_permission":
        return typeof key === "string" && this.#senderMay(key);
      case THREAD_SUBSCRIPTION:
        return typeof condition.subscribed === "boolean" && user.followsThread === condition.subscribed;
      default:
        // Spec: "Unrecognised conditions MUST NOT match any events".
        return false;
    }
  }

  #senderMay(key: string): boolean {
    const { powerLevels, senderPowerLevel } = this.#context;
    const levels = isJsonObject(powerLevels.notifications) ? powerLevels.notifications : {};
    const needed = levels[key];
    return senderPowerLevel >= (typeof needed === "number" ? needed : DEFAULT_NOTIFICATION_LEVEL);
  }

  #matchesPattern(key: string, pattern: string): boolean {
    if (key === "content.body") return this.#matchesText(key, pattern);
    const value = this.#value(key);
    if (typeof value !== "string") return false;
    return hasWildcard(pattern)
      ? matchesGlob(compileGlob(pattern, "whole"), value)
      : value.toLowerCase() === pattern.toLowerCase();
  }

  /** Matches words in a text. Spec: for `content.body`, the pattern matches at word boundaries. */
  #matchesText(key: string, pattern: string): boolean {
    const value = this.#value(key);
    if (typeof value !== "string" || pattern === "") return false;
    return matchesGlob(compileGlob(pattern, "words"), value);
  }

  #value(key: string): JsonValue | undefined {
    if (this.#values.has(key)) return this.#values.get(key);
    let value: JsonValue | undefined = this.#view;
    for (const part of pathOf(key)) {
      value = isJsonObject(value) && Object.hasOwn(value, part) ? value[part] : undefined;
      if (value === undefined) break;
    }
    this.#values.set(key, value);
    return value;
  }
}

function outcomeOf(rule: PushRule): PushOutcome {
  const notify = rule.actions.includes("notify");
  if (!notify) return SILENT;
  const highlight = rule.actions.some((action) =>
    isJsonObject(action) && action.set_tweak === "highlight" && action.value !== false
  );
  return { notify, highlight, actions: rule.actions };
}

function isScalar(value: JsonValue | undefined): value is string | number | boolean | null {
  return value !== undefined && (value === null || typeof value !== "object");
}

/** Splits a key at its dots; `\.` and `\\` stand for the character itself. Spec: "Dot-separated property paths". */
function pathOf(key: string): readonly string[] {
  const known = KEY_PATHS.get(key);
  if (known) return known;
  const parts: string[] = [];
  let part = "";
  for (let at = 0; at < key.length; at++) {
    const next = key[at + 1];
    if (key[at] === "\\" && (next === "." || next === "\\")) {
      part += next;
      at++;
    } else if (key[at] === ".") {
      parts.push(part);
      part = "";
    } else {
      part += key[at];
    }
  }
  parts.push(part);
  if (KEY_PATHS.size >= MAX_CACHED_PATTERNS) KEY_PATHS.clear();
  KEY_PATHS.set(key, parts);
  return parts;
}

function hasWildcard(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes("?");
}

function escapeGlob(text: string): string {
  // A display name is not a pattern: its wildcards are turned into marks that compileGlob keeps literal.
  return text.replaceAll("*", "\u0001").replaceAll("?", "\u0002");
}

/**
 * Compiles a glob into the pieces between its stars, or null when it is too long. Each piece is found as early as it can
 * be after the one before, so matching never goes back: no pattern can make it slow.
 */
function compileGlob(pattern: string, mode: "whole" | "words"): readonly RegExp[] | null {
  const id = `${mode}\n${pattern}`;
  const known = PATTERNS.get(id);
  if (known !== undefined) return known;
  const compiled = pattern.length > MAX_PATTERN_LENGTH ? null : compilePieces(pattern, mode);
  if (PATTERNS.size >= MAX_CACHED_PATTERNS) PATTERNS.clear();
  PATTERNS.set(id, compiled);
  return compiled;
}

function compilePieces(pattern: string, mode: "whole" | "words"): RegExp[] {
  const [start, end] = mode === "whole" ? ["^", "$"] : ["(?<![A-Za-z0-9_])", "(?![A-Za-z0-9_])"];
  const pieces = pattern.split(/\*+/);
  return pieces.map((piece, index) => {
    const body = piece.replace(/[\\^$.+()|[\]{}/]/g, "\\$&").replaceAll("?", "[\\s\\S]")
      .replaceAll("\u0001", "\\*").replaceAll("\u0002", "\\?");
    return new RegExp(`${index === 0 ? start : ""}${body}${index === pieces.length - 1 ? end : ""}`, "giu");
  });
}

function matchesGlob(pieces: readonly RegExp[] | null, text: string): boolean {
  if (pieces === null) return false;
  let at = 0;
  for (const piece of pieces) {
    piece.lastIndex = at;
    const match = piece.exec(text);
    if (!match) return false;
    at = match.index + match[0].length;
  }
  return true;
}

/** Compares a count with `2`, `==2`, `<2`, `>2`, `<=2` or `>=2`. */
function compares(is: string, count: number): boolean {
  const match = /^(==|<=|>=|<|>)?([0-9]{1,9})$/.exec(is);
  if (!match) return false;
  const wanted = Number(match[2]);
  switch (match[1]) {
    case "<":
      return count < wanted;
    case ">":
      return count > wanted;
    case "<=":
      return count <= wanted;
    case ">=":
      return count >= wanted;
    default:
      return count === wanted;
  }
}
