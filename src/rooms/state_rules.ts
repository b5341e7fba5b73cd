/** State that a local user may not set although the authorization rules let it pass. Spec: "m.room.canonical_alias". */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { canonicalJson, CanonicalJsonError } from "../protocol/canonical_json.ts";
import { badJson, invalidParam, MatrixError } from "../protocol/errors.ts";
import { parseRoomAlias, type RoomAlias, type ServerName } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { ownerOfStateKey } from "../protocol/owned_state.ts";
import { isServerAllowed, parseServerAcl } from "../protocol/server_acl.ts";
import { selectAlias } from "../storage/directory.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventTemplate } from "./build.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { RETENTION_TYPE } from "./retention_policies.ts";

const MAX_ALT_ALIASES = 500;

/** Throws when the state is not one to set. */
export async function assertStateAllowed(
  deps: Pick<EngineDeps, "db" | "serverName">,
  { batch, template }: { batch: RoomBatch; template: EventTemplate },
): Promise<void> {
  const { stateKey } = template;
  if (batch.rules.ownedState && stateKey?.startsWith("@") && ownerOfStateKey(stateKey) === null) {
    throw badJson('A state key that starts with "@" must start with a user id, and go on with "_" if at all');
  }
  if (template.type === RETENTION_TYPE) assertRetention(template);
  if (template.type === "m.room.create" && template.stateKey !== null) {
    throw badJson("A room has one create event, which is its first");
  }
  if (template.type === "m.room.power_levels" && template.stateKey === "") {
    assertCanonical(template.content);
    await assertNoCreators(batch, template.content);
  }
  if (template.type === "m.room.server_acl" && template.stateKey === "") {
    assertLetsUsIn(deps.serverName, template.content);
  }
  if (template.type === "m.room.canonical_alias" && template.stateKey === "") {
    await assertAliasesLeadHere(deps, { batch, content: template.content });
  }
}

/** As Synapse: lifetimes are whole numbers, and the shorter is not the longer. */
function assertRetention({ stateKey, content }: EventTemplate): void {
  if (stateKey === null) throw new MatrixError(400, "M_UNKNOWN", "m.room.retention must be a state event");
  const { min_lifetime: min = null, max_lifetime: max = null } = content;
  for (const [name, value] of [["min_lifetime", min], ["max_lifetime", max]] as const) {
    if (value !== null && !(typeof value === "number" && Number.isSafeInteger(value) && value >= 0)) {
      throw badJson(`"${name}" must be a whole number of milliseconds`);
    }
  }
  if (typeof min === "number" && typeof max === "number" && min > max) {
    throw badJson('"min_lifetime" cannot be greater than "max_lifetime"');
  }
}

/** As Synapse: nobody could take back an ACL that shuts out the server of those who may change it. */
function assertLetsUsIn(serverName: ServerName, content: Readonly<JsonObject>): void {
  if (isServerAllowed(serverName, parseServerAcl(content))) return;
  throw invalidParam("The access control list does not allow this server itself");
}

/** Numbers that no event may hold are bad JSON, before they are bad levels. */
function assertCanonical(content: Readonly<JsonObject>): void {
  try {
    canonicalJson(content as JsonObject);
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(error.message);
    throw error;
  }
}

/** Since version 12 creators have more power than any number, so that levels for them are a mistake. */
async function assertNoCreators(batch: RoomBatch, { users }: Readonly<JsonObject>): Promise<void> {
  if (!batch.rules.privilegedCreators || !isJsonObject(users)) return;
  const create = (await batch.current("m.room.create", ""))?.event;
  const others = create?.content["additional_creators"];
  for (const creator of [create?.sender, ...Array.isArray(others) ? others : []]) {
    if (typeof creator === "string" && Object.hasOwn(users, creator)) {
      throw badJson(`"${creator}" created the room and cannot be listed in its power levels`);
    }
  }
}

/** Aliases that the event adds must lead to the room; those it has already may have gone meanwhile. */
async function assertAliasesLeadHere(
  { db, serverName }: Pick<EngineDeps, "db" | "serverName">,
  { batch, content }: { batch: RoomBatch; content: Readonly<JsonObject> },
): Promise<void> {
  const aliases = aliasesIn(content);
  const before = await batch.current("m.room.canonical_alias", "");
  const known = new Set<string>(before === null ? [] : looseAliasesIn(before.event.content));
  for (const alias of aliases) {
    if (known.has(alias)) continue;
    const row = domainOf(alias) === serverName ? await selectAlias(db, alias) : null;
    if (row === null || row.roomId !== batch.room.roomId) {
      throw new MatrixError(400, "M_BAD_ALIAS", `Room alias "${alias}" does not lead to the room`);
    }
  }
}

function aliasesIn({ alias, alt_aliases: others }: Readonly<JsonObject>): RoomAlias[] {
  if (others !== undefined && !Array.isArray(others)) throw badJson(`"alt_aliases" must be a list`);
  if (others !== undefined && others.length > MAX_ALT_ALIASES) throw invalidParam("Too many aliases");
  const texts = alias === undefined || alias === null || alias === "" ? others ?? [] : [alias, ...others ?? []];
  return texts.map((text) => {
    const parsed = typeof text === "string" ? parseRoomAlias(text) : null;
    if (parsed === null) throw invalidParam(`${JSON.stringify(text)} is not a room alias`);
    return parsed;
  });
}

function looseAliasesIn({ alias, alt_aliases: others }: Readonly<JsonObject>): string[] {
  return [alias, ...Array.isArray(others) ? others : []].filter((text) => typeof text === "string");
}
