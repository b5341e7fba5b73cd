import assert from "node:assert/strict";
import { type HistoryVisibility, mayRead, parseHistoryVisibility, parseMembership } from "./visibility.ts";
import type { Membership } from "./types.ts";

const MEMBERSHIPS: readonly Membership[] = ["join", "invite", "knock", "leave", "ban"];

/** Per setting: memberships that may read without and with having joined since. */
const TABLE: Readonly<Record<HistoryVisibility, readonly [readonly Membership[], readonly Membership[]]>> = {
  world_readable: [MEMBERSHIPS, MEMBERSHIPS],
  shared: [["join"], MEMBERSHIPS],
  invited: [["join", "invite"], ["join", "invite"]],
  joined: [["join"], ["join"]],
};

Deno.test("mayRead() follows the rules of the spec for every setting and membership", () => {
  for (const [visibility, [without, having]] of Object.entries(TABLE)) {
    for (const membership of MEMBERSHIPS) {
      for (const [joinedSince, allowed] of [[false, without], [true, having]] as const) {
        assert.equal(
          mayRead({ visibility: visibility as HistoryVisibility, membership, joinedSince }),
          allowed.includes(membership),
          `${visibility} ${membership} ${joinedSince}`,
        );
      }
    }
  }
});

Deno.test("unknown settings mean shared and unknown memberships mean leave", () => {
  assert.equal(parseHistoryVisibility("friends"), "shared");
  assert.equal(parseHistoryVisibility(undefined), "shared");
  assert.equal(parseMembership(7), "leave");
  assert.equal(parseMembership("knock"), "knock");
});
