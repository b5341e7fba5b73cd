import { allows, CREATOR, refuses, versions } from "./testing/auth_case.ts";
import type { EventSpec } from "./testing/room_dag.ts";

const ALICE = "@alice:a";
const BOB = "@bob:b";
const CAROL = "@carol:c";
const ALL = versions();

/** What a user makes of the membership of another, or of their own. */
function change(membership: string, who: string | { by: string; of: string }): Omit<EventSpec, "id"> {
  const { by, of } = typeof who === "string" ? { by: who, of: who } : who;
  return { type: "m.room.member", sender: by, stateKey: of, content: { membership } };
}

/** A join that `authorizer` vouches for. */
function vouched(sender: string, authorizer: unknown): Omit<EventSpec, "id"> {
  const content = { membership: "join", join_authorised_via_users_server: authorizer as string };
  return { type: "m.room.member", sender, stateKey: sender, content };
}

Deno.test("a membership has a state key and a known membership", () => {
  const event = change("join", ALICE);
  refuses(ALL, [{ joinRule: "public", event: { ...event, stateKey: null } }, /state key/]);
  refuses(ALL, [{ joinRule: "public", event: { ...event, content: {} } }, /no membership/]);
  refuses(ALL, [{ joinRule: "public", event: change("dance", ALICE) }, /not known/]);
  refuses(ALL, [{ joinRule: "public", event: { ...event, content: { membership: 1 } } }, /not known/]);
  refuses(versions({ to: 6 }), [{ joinRule: "public", event: change("knock", ALICE) }, /not known/]);
});

Deno.test("join: the creator joins right after the create event", () => {
  const event = { ...change("join", CREATOR), prev: ["$create"] };
  allows(ALL, { event });
  refuses(ALL, [{ event: { ...event, prev: ["$create", "$other"] } }, /not invited/]);
  refuses(ALL, [{ event: { ...event, prev: ["$other"] } }, /not invited/]);
  refuses(ALL, [{ event: { ...change("join", ALICE), prev: ["$create"] } }, /not invited/]);
  // Up to v10 the creator is whom the content names.
  const create = { creator: ALICE };
  allows(versions({ to: 10 }), { create, event: { ...change("join", ALICE), prev: ["$create"] } });
  refuses(versions({ from: 11 }), [{ create, event: { ...change("join", ALICE), prev: ["$create"] } }, /invited/]);
});

Deno.test("join: nobody joins for another, and nobody who is banned", () => {
  refuses(ALL, [
    { joinRule: "public", members: { [ALICE]: "join" }, event: change("join", { by: ALICE, of: BOB }) },
    /for another/,
  ]);
  refuses(ALL, [{ joinRule: "public", members: { [ALICE]: "ban" }, event: change("join", ALICE) }, /banned/]);
});

Deno.test("join: by the join rule", () => {
  const event = change("join", ALICE);
  allows(ALL, { joinRule: "public", event });
  for (const membership of ["leave", "knock"]) {
    allows(ALL, { joinRule: "public", members: { [ALICE]: membership }, event });
    refuses(ALL, [{ joinRule: "invite", members: { [ALICE]: membership }, event }, /not invited/]);
  }
  for (const membership of ["invite", "join"]) {
    allows(ALL, { joinRule: "invite", members: { [ALICE]: membership }, event });
    // No join rules mean "invite".
    allows(ALL, { members: { [ALICE]: membership }, event });
    refuses(ALL, [{ joinRule: "private", members: { [ALICE]: membership }, event }, /join rule/]);
    allows(versions({ from: 7 }), { joinRule: "knock", members: { [ALICE]: membership }, event });
    refuses(versions({ to: 6 }), [{ joinRule: "knock", members: { [ALICE]: membership }, event }, /join rule/]);
  }
  refuses(ALL, [{ event }, /not invited/]);
  refuses(versions({ from: 7 }), [{ joinRule: "knock", members: { [ALICE]: "knock" }, event }, /not invited/]);
});

Deno.test("join: restricted needs an invite or somebody in the room who may invite", () => {
  for (const [joinRule, from] of [["restricted", 8], ["knock_restricted", 10]] as const) {
    const since = versions({ from });
    const event = vouched(ALICE, BOB);
    allows(since, { joinRule, members: { [ALICE]: "invite" }, event: change("join", ALICE) });
    allows(since, { joinRule, members: { [ALICE]: "join" }, event: change("join", ALICE) });
    refuses(since, [{ joinRule, event: change("join", ALICE) }, /nobody authorized/]);
    allows(since, { joinRule, members: { [BOB]: "join" }, event });
    refuses(since, [{ joinRule, members: { [BOB]: "invite" }, event }, /not in the room/]);
    refuses(since, [{ joinRule, members: { [BOB]: "join" }, powerLevels: { invite: 1 }, event }, /to invite/]);
    const powerLevels = { invite: 1, users: { [BOB]: 1 } };
    allows(since, { joinRule, members: { [BOB]: "join" }, powerLevels, event });
    refuses(since, [{ joinRule, members: { [BOB]: "join", [ALICE]: "ban" }, event }, /banned/]);
    refuses(versions({ to: from - 1 }), [{ joinRule, members: { [BOB]: "join" }, event }, /join rule/]);
  }
});

Deno.test("the user who authorizes a join must be a user id since v8, whatever the membership", () => {
  for (const authorizer of ["bob", 1, null, {}]) {
    refuses(versions({ from: 8 }), [{ joinRule: "public", event: vouched(ALICE, authorizer) }, /not a user id/]);
    allows(versions({ to: 7 }), { joinRule: "public", event: vouched(ALICE, authorizer) });
  }
});

Deno.test("invite: by a member with the level, for who is neither in the room nor banned", () => {
  const event = change("invite", { by: ALICE, of: BOB });
  allows(ALL, { members: { [ALICE]: "join" }, event });
  for (const membership of ["invite", "leave", "knock"]) {
    allows(ALL, { members: { [ALICE]: "join", [BOB]: membership }, event });
    refuses(ALL, [{ members: { [ALICE]: membership }, event }, /sender is not in the room/]);
  }
  refuses(ALL, [{ event }, /sender is not in the room/]);
  refuses(ALL, [{ members: { [ALICE]: "join", [BOB]: "join" }, event }, /already in the room/]);
  refuses(ALL, [{ members: { [ALICE]: "join", [BOB]: "ban" }, event }, /banned/]);
  refuses(ALL, [{ members: { [ALICE]: "join" }, powerLevels: { invite: 50 }, event }, /power level to invite/]);
  allows(ALL, { members: { [ALICE]: "join" }, powerLevels: { invite: 50, users_default: 50 }, event });
});

Deno.test("leave: a user leaves, declines, and since v7 takes back a knock", () => {
  const event = change("leave", ALICE);
  allows(ALL, { members: { [ALICE]: "join" }, event });
  allows(ALL, { members: { [ALICE]: "invite" }, event });
  allows(versions({ from: 7 }), { members: { [ALICE]: "knock" }, event });
  refuses(versions({ to: 6 }), [{ members: { [ALICE]: "knock" }, event }, /not in the room/]);
  refuses(ALL, [{ members: { [ALICE]: "leave" }, event }, /not in the room/]);
  refuses(ALL, [{ members: { [ALICE]: "ban" }, event }, /not in the room/]);
  refuses(ALL, [{ event }, /not in the room/]);
});

Deno.test("leave: a kick needs the kick level and more power than the target", () => {
  const event = change("leave", { by: ALICE, of: BOB });
  const members = { [ALICE]: "join", [BOB]: "join" };
  allows(ALL, { members, powerLevels: { users: { [ALICE]: 50 } }, event });
  refuses(ALL, [{ members, powerLevels: { users: { [ALICE]: 49 } }, event }, /kick/]);
  refuses(ALL, [{ members, powerLevels: { users: { [ALICE]: 50, [BOB]: 50 } }, event }, /kick/]);
  allows(ALL, { members, powerLevels: { kick: 0, users: { [BOB]: -1 } }, event });
  const outside = { members: { [BOB]: "join" }, powerLevels: { users: { [ALICE]: 50 } }, event };
  refuses(ALL, [outside, /sender is not in the room/]);
});

Deno.test("leave: an unban needs the ban level besides", () => {
  const event = change("leave", { by: ALICE, of: BOB });
  const members = { [ALICE]: "join", [BOB]: "ban" };
  refuses(ALL, [{ members, powerLevels: { ban: 60, users: { [ALICE]: 50 } }, event }, /unban/]);
  allows(ALL, { members, powerLevels: { ban: 60, users: { [ALICE]: 60 } }, event });
  refuses(ALL, [{ members, powerLevels: { ban: 0, kick: 60, users: { [ALICE]: 50 } }, event }, /kick/]);
});

Deno.test("ban: needs the ban level and more power than the target, who need not be in the room", () => {
  const event = change("ban", { by: ALICE, of: BOB });
  const members = { [ALICE]: "join" };
  allows(ALL, { members, powerLevels: { users: { [ALICE]: 50 } }, event });
  refuses(ALL, [{ members, powerLevels: { users: { [ALICE]: 49 } }, event }, /ban/]);
  refuses(ALL, [{ members, powerLevels: { users: { [ALICE]: 50, [BOB]: 50 } }, event }, /ban/]);
  refuses(ALL, [{ powerLevels: { users: { [ALICE]: 50 } }, event }, /sender is not in the room/]);
});

Deno.test("creators cannot be kicked or banned since v12, and overpower all others", () => {
  const members = { [CREATOR]: "join", [ALICE]: "join", [BOB]: "join" };
  const powerLevels = { users: { [ALICE]: Number.MAX_SAFE_INTEGER } };
  for (const membership of ["leave", "ban"]) {
    const byAdmin = { members, powerLevels, event: change(membership, { by: ALICE, of: CREATOR }) };
    refuses(["12"], [byAdmin, /power level/]);
    allows(versions({ to: 11 }), byAdmin);
    allows(["12"], { members, powerLevels, event: change(membership, { by: CREATOR, of: ALICE }) });
    const create = { additional_creators: [BOB] };
    refuses(["12"], [{ create, members, event: change(membership, { by: CREATOR, of: BOB }) }, /power level/]);
  }
});

Deno.test("knock: where the join rule is knock (v7) or knock_restricted (v10)", () => {
  const event = change("knock", CAROL);
  allows(versions({ from: 7 }), { joinRule: "knock", event });
  allows(versions({ from: 7 }), { joinRule: "knock", members: { [CAROL]: "leave" }, event });
  allows(versions({ from: 7 }), { joinRule: "knock", members: { [CAROL]: "knock" }, event });
  allows(versions({ from: 10 }), { joinRule: "knock_restricted", event });
  refuses(versions({ from: 7, to: 9 }), [{ joinRule: "knock_restricted", event }, /knock/]);
  for (const membership of ["ban", "invite", "join"]) {
    refuses(versions({ from: 7 }), [{ joinRule: "knock", members: { [CAROL]: membership }, event }, /banned, invited/]);
  }
  for (const joinRule of ["public", "invite", "restricted"]) {
    refuses(versions({ from: 7 }), [{ joinRule, event }, /does not let users knock/]);
  }
  refuses(versions({ from: 7 }), [
    { joinRule: "knock", event: change("knock", { by: ALICE, of: CAROL }) },
    /for another/,
  ]);
});
