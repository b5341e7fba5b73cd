/**
 * Whom a user lets invite them. Spec: client-server API, "Invite permission" (`m.invite_permission_config`, first
 * MSC4380), and the lists of MSC4155. Both are account data.
 */
import { matchesGlob } from "../protocol/glob.ts";
import { serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { InviteDecision } from "../rooms/invite_rules.ts";

/** What the filter is built from. */
export interface InviteFilterDeps {
  /** Returns a user's global account data of a type, or null. */
  readonly accountData: (userId: UserId, type: string) => Promise<JsonObject | null>;
}

const DEFAULT_ACTION_TYPES = ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"] as const;
const LISTS_TYPE = "org.matrix.msc4155.invite_permission_config";
/** In this order: users before servers, and what allows before what refuses. */
const LISTS = [
  ["allowed_users", "user", "allow"],
  ["ignored_users", "user", "ignore"],
  ["blocked_users", "user", "block"],
  ["allowed_servers", "server", "allow"],
  ["ignored_servers", "server", "ignore"],
  ["blocked_servers", "server", "block"],
] as const;
const MAX_GLOBS = 1_000;
const MAX_GLOB_LENGTH = 255;

/** Decides about invitations. */
export class InviteFilter {
  readonly #deps: InviteFilterDeps;

  constructor(deps: InviteFilterDeps) {
    this.#deps = deps;
  }

  /** Decides what becomes of an invitation by `sender` to the local user `target`. */
  readonly decide = async ({ sender, target }: { sender: UserId; target: UserId }): Promise<InviteDecision> => {
    const { accountData } = this.#deps;
    for (const type of DEFAULT_ACTION_TYPES) {
      if ((await accountData(target, type))?.default_action === "block") return "block";
    }
    const lists = await accountData(target, LISTS_TYPE);
    if (lists === null) return "allow";
    const names = { user: sender, server: serverNameOf(sender) };
    for (const [key, kind, decision] of LISTS) {
      if (isListed(lists[key], names[kind])) return decision;
    }
    return "allow";
  };
}

function isListed(globs: JsonValue | undefined, name: string): boolean {
  if (!Array.isArray(globs)) return false;
  return globs.slice(0, MAX_GLOBS).some((glob) =>
    typeof glob === "string" && glob.length <= MAX_GLOB_LENGTH && matchesGlob(name, glob)
  );
}
