/**
 * Push rules: their shape and the predefined ones. Spec: client-server API, "Push Rules" and "Predefined Rules".
 */
import { localpartOf, type UserId } from "./ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** The kinds of rules, the strongest first. Users cannot make rules of kind `postcontent` (MSC4306). */
export const PUSH_RULE_KINDS = ["override", "content", "postcontent", "room", "sender", "underride"] as const;
/** One of `PUSH_RULE_KINDS`. */
export type PushRuleKind = typeof PUSH_RULE_KINDS[number];

/** A rule as clients see it. */
export interface PushRule {
  readonly ruleId: string;
  readonly isDefault: boolean;
  readonly enabled: boolean;
  readonly actions: readonly JsonValue[];
  /** Of override and underride rules; the other kinds imply theirs. */
  readonly conditions?: readonly JsonObject[];
  /** Of content rules. */
  readonly pattern?: string;
}

/** A user's rules of every kind, in the order in which they are tried. */
export type PushRuleset = Readonly<Record<PushRuleKind, readonly PushRule[]>>;

/** What a user changed about a predefined rule. */
export interface DefaultRuleChange {
  readonly enabled: boolean | null;
  readonly actions: readonly JsonValue[] | null;
}

const SOUND = { set_tweak: "sound", value: "default" };
const HIGHLIGHT = { set_tweak: "highlight" };

function eventMatch(key: string, pattern: string): JsonObject {
  return { kind: "event_match", key, pattern };
}

function predefined(
  ruleId: string,
  { actions = [], conditions }: { actions?: readonly JsonValue[]; conditions: readonly JsonObject[] },
): PushRule {
  return { ruleId, isDefault: true, enabled: true, actions, conditions };
}

/** Always tried first, even before the user's own rules. */
const MASTER: PushRule = { ...predefined(".m.rule.master", { conditions: [] }), enabled: false };

/**
 * The rules that look for mentions in the text. The spec dropped them (v1.17); Synapse has them on, and clients without
 * `m.mentions` are told of mentions by nothing else. They hold for events without `m.mentions` only.
 */
const BODY_DISPLAY_NAME = predefined(".m.rule.contains_display_name", {
  actions: ["notify", SOUND, HIGHLIGHT],
  conditions: [{ kind: "contains_display_name" }],
});
const BODY_ROOM = predefined(".m.rule.roomnotif", {
  actions: ["notify", HIGHLIGHT],
  conditions: [
    { kind: "sender_notification_permission", key: "room" },
    eventMatch("content.body", "@room"),
  ],
});
const BODY_USER_NAME = ".m.rule.contains_user_name";

/** The ids of the rules that look for mentions in the text. */
export const BODY_MENTION_RULES: ReadonlySet<string> = new Set([
  BODY_DISPLAY_NAME.ruleId,
  BODY_ROOM.ruleId,
  BODY_USER_NAME,
]);

function bodyUserName(userId: UserId): PushRule {
  const { conditions: _none, ...rule } = predefined(BODY_USER_NAME, {
    actions: ["notify", SOUND, HIGHLIGHT],
    conditions: [],
  });
  return { ...rule, pattern: localpartOf(userId) };
}

function defaultOverrides(userId: UserId, bodyMentions: boolean): PushRule[] {
  return [
    predefined(".m.rule.suppress_notices", { conditions: [eventMatch("content.msgtype", "m.notice")] }),
    predefined(".m.rule.invite_for_me", {
      actions: ["notify", SOUND],
      conditions: [
        eventMatch("type", "m.room.member"),
        eventMatch("content.membership", "invite"),
        eventMatch("state_key", userId),
      ],
    }),
    predefined(".m.rule.member_event", { conditions: [eventMatch("type", "m.room.member")] }),
    predefined(".m.rule.is_user_mention", {
      actions: ["notify", SOUND, HIGHLIGHT],
      conditions: [
        { kind: "event_property_contains", key: "content.m\\.mentions.user_ids", value: userId },
      ],
    }),
    ...(bodyMentions ? [BODY_DISPLAY_NAME] : []),
    predefined(".m.rule.is_room_mention", {
      actions: ["notify", HIGHLIGHT],
      conditions: [
        { kind: "event_property_is", key: "content.m\\.mentions.room", value: true },
        { kind: "sender_notification_permission", key: "room" },
      ],
    }),
    ...(bodyMentions ? [BODY_ROOM] : []),
    predefined(".m.rule.tombstone", {
      actions: ["notify", HIGHLIGHT],
      conditions: [
        eventMatch("type", "m.room.tombstone"),
        eventMatch("state_key", ""),
      ],
    }),
    predefined(".m.rule.reaction", { conditions: [eventMatch("type", "m.reaction")] }),
    predefined(".m.rule.room.server_acl", {
      conditions: [eventMatch("type", "m.room.server_acl"), eventMatch("state_key", "")],
    }),
    predefined(".m.rule.suppress_edits", {
      conditions: [
        { kind: "event_property_is", key: "content.m\\.relates_to.rel_type", value: "m.replace" },
      ],
    }),
    predefined(".org.matrix.msc3930.rule.poll_response", {
      conditions: [eventMatch("type", "org.matrix.msc3381.poll.response")],
    }),
  ];
}

const DEFAULT_UNDERRIDES: readonly PushRule[] = [
  predefined(".m.rule.call", {
    actions: ["notify", { set_tweak: "sound", value: "ring" }],
    conditions: [eventMatch("type", "m.call.invite")],
  }),
  predefined(".m.rule.encrypted_room_one_to_one", {
    actions: ["notify", SOUND],
    conditions: [
      { kind: "room_member_count", is: "2" },
      eventMatch("type", "m.room.encrypted"),
    ],
  }),
  predefined(".m.rule.room_one_to_one", {
    actions: ["notify", SOUND],
    conditions: [
      { kind: "room_member_count", is: "2" },
      eventMatch("type", "m.room.message"),
    ],
  }),
  predefined(".m.rule.message", { actions: ["notify"], conditions: [eventMatch("type", "m.room.message")] }),
  predefined(".m.rule.encrypted", { actions: ["notify"], conditions: [eventMatch("type", "m.room.encrypted")] }),
  ...pollRules("start"),
  ...pollRules("end"),
];

/** Polls notify like messages (MSC3930). */
function pollRules(part: "start" | "end"): PushRule[] {
  const isPoll = eventMatch("type", `org.matrix.msc3381.poll.${part}`);
  const id = `.org.matrix.msc3930.rule.poll_${part}`;
  return [
    predefined(`${id}_one_to_one`, {
      actions: ["notify", SOUND],
      conditions: [{ kind: "room_member_count", is: "2" }, isPoll],
    }),
    predefined(id, { actions: ["notify"], conditions: [isPoll] }),
  ];
}

/** The condition of the rules for threads (MSC4306). */
export const THREAD_SUBSCRIPTION = "io.element.msc4306.thread_subscription";

const THREAD_RULES: readonly PushRule[] = [
  predefined(".io.element.msc4306.rule.unsubscribed_thread", {
    conditions: [{ kind: THREAD_SUBSCRIPTION, subscribed: false }],
  }),
  predefined(".io.element.msc4306.rule.subscribed_thread", {
    actions: ["notify", SOUND],
    conditions: [{ kind: THREAD_SUBSCRIPTION, subscribed: true }],
  }),
];

/** Returns the predefined rules for a user, before the user's changes; `bodyMentions`: see `BODY_MENTION_RULES`. */
export function defaultPushRules(
  userId: UserId,
  { bodyMentions = true, followedThreads = false }: DefaultRuleOptions = {},
): PushRuleset {
  return {
    override: [MASTER, ...defaultOverrides(userId, bodyMentions)],
    content: bodyMentions ? [bodyUserName(userId)] : [],
    postcontent: followedThreads ? THREAD_RULES : [],
    room: [],
    sender: [],
    underride: DEFAULT_UNDERRIDES,
  };
}

/** Which of the optional predefined rules there are. */
export interface DefaultRuleOptions {
  readonly bodyMentions?: boolean;
  /** Threads notify those who follow them, and nobody else but by mentions (MSC4306). */
  readonly followedThreads?: boolean;
}

/** Joins a user's own rules, strongest first, with the predefined ones as the user changed them. */
export function buildRuleset(
  userId: UserId,
  { own, changes, ...options }: DefaultRuleOptions & {
    own: Readonly<Partial<Record<PushRuleKind, readonly PushRule[]>>>;
    changes: ReadonlyMap<string, DefaultRuleChange>;
  },
): PushRuleset {
  const defaults = defaultPushRules(userId, options);
  const apply = (rule: PushRule): PushRule => {
    const change = changes.get(rule.ruleId);
    if (change === undefined) return rule;
    return { ...rule, enabled: change.enabled ?? rule.enabled, actions: change.actions ?? rule.actions };
  };
  const [master, ...overrides] = defaults.override.map(apply);
  return {
    override: [...(master ? [master] : []), ...(own.override ?? []), ...overrides],
    content: [...(own.content ?? []), ...defaults.content.map(apply)],
    postcontent: defaults.postcontent.map(apply),
    room: own.room ?? [],
    sender: own.sender ?? [],
    underride: [...(own.underride ?? []), ...defaults.underride.map(apply)],
  };
}

/** Renders a rule as `PushRule` of the spec. */
export function renderPushRule(rule: PushRule): JsonObject {
  return {
    rule_id: rule.ruleId,
    default: rule.isDefault,
    enabled: rule.enabled,
    actions: [...rule.actions],
    ...(rule.conditions === undefined ? {} : { conditions: [...rule.conditions] }),
    ...(rule.pattern === undefined ? {} : { pattern: rule.pattern }),
  };
}

/** Renders the content of `m.push_rules`. */
export function renderRuleset(rules: PushRuleset): JsonObject {
  const kinds = PUSH_RULE_KINDS.filter((kind) => kind !== "postcontent" || rules.postcontent.length > 0);
  return { global: Object.fromEntries(kinds.map((kind) => [kind, rules[kind].map(renderPushRule)])) };
}

/** Tells whether `actions` is a list that the spec allows: known words and tweaks. */
export function areActions(actions: JsonValue | undefined): actions is JsonValue[] {
  return Array.isArray(actions) &&
    actions.every((action) =>
      typeof action === "string"
        ? KNOWN_ACTIONS.has(action)
        : isJsonObject(action) && typeof action.set_tweak === "string"
    );
}

/** The last two are historical; they are accepted and do nothing. */
const KNOWN_ACTIONS: ReadonlySet<string> = new Set(["notify", "dont_notify", "coalesce"]);
