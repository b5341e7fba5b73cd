import assert from "node:assert/strict";
import { DEFAULT_ROOM_VERSION, getRoomVersion, listRoomVersions } from "./room_versions.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** The versions in which a rule holds, from the page of each version in the spec. */
const HOLDS: Readonly<Record<string, (rules: RoomVersionRules) => boolean>> = {
  "1-2": (rules) => rules.eventIdFormat === "server_assigned",
  "3-3": (rules) => rules.eventIdFormat === "base64",
  "4-12": (rules) => rules.eventIdFormat === "url_safe_base64",
  "1-1": (rules) => rules.stateResolution === "v1",
  "2-11": (rules) => rules.stateResolution === "v2",
  "12-12": (rules) => rules.stateResolution === "v2.1" && rules.roomIdIsCreateHash && rules.privilegedCreators,
  "5-12": (rules) => rules.enforceKeyValidity,
  "1-5": (rules) => rules.specialCaseAliases,
  "6-12": (rules) => rules.strictCanonicalJson && rules.limitNotificationsPowerLevels,
  "7-12": (rules) => rules.knocking,
  "8-12": (rules) => rules.restrictedJoinRule && rules.redactionKeepsJoinRulesAllow,
  "9-12": (rules) => rules.redactionKeepsMemberAuthorizingUser,
  "10-12": (rules) => rules.knockRestrictedJoinRule && rules.integerPowerLevels,
  "11-12": (rules) => rules.updatedRedaction,
  "1-10": (rules) => rules.creatorInContent,
  "1-12": (rules) => !rules.ownedState,
};

for (const [range, holds] of Object.entries(HOLDS)) {
  Deno.test(`the rules of room versions ${range} are theirs alone`, () => {
    const [first, last] = range.split("-").map(Number) as [number, number];
    for (const rules of listRoomVersions().filter(({ stable }) => stable)) {
      assert.equal(holds(rules), Number(rules.id) >= first && Number(rules.id) <= last, `version ${rules.id}`);
    }
  });
}

Deno.test("twelve stable versions are known, 12 is the default, others are not", () => {
  const stable = listRoomVersions().filter((rules) => rules.stable);
  assert.deepEqual(stable.map(({ id }) => id), Array.from({ length: 12 }, (_, i) => String(i + 1)));
  assert.equal(DEFAULT_ROOM_VERSION, "12");
  const unstable = listRoomVersions().filter((rules) => !rules.stable);
  assert.deepEqual(unstable.map(({ id }) => id), ["org.matrix.msc3757.10", "org.matrix.msc3757.11"]);
  assert.ok(unstable.every((rules) => rules.ownedState && !rules.privilegedCreators));
  for (const id of ["0", "13", "", "1.0", "constructor"]) assert.equal(getRoomVersion(id), null);
});
