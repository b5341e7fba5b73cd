import assert from "node:assert/strict";
import { stringify } from "yaml";
import { StartupError } from "../lib/startup_error.ts";
import { loadAppservices, parseRegistration } from "./appservices.ts";

const REGISTRATION = {
  id: "irc",
  url: "http://127.0.0.1:1234/",
  as_token: "as",
  hs_token: "hs",
  sender_localpart: "_irc_bot",
  namespaces: { users: [{ exclusive: true, regex: "@_irc_.*" }], aliases: [], rooms: null },
};

function parse(changes: Record<string, unknown>): ReturnType<typeof parseRegistration> {
  return parseRegistration(stringify({ ...REGISTRATION, ...changes }), "irc.yaml");
}

function problemOf(changes: Record<string, unknown>): string {
  try {
    parse(changes);
  } catch (error) {
    if (error instanceof StartupError) return error.message;
    throw error;
  }
  return "";
}

Deno.test("parseRegistration() reads a registration, with Synapse's defaults", () => {
  const service = parse({});
  const { users, aliases, rooms, ...rest } = service;
  assert.deepEqual(rest, {
    id: "irc",
    url: "http://127.0.0.1:1234",
    asToken: "as",
    hsToken: "hs",
    senderLocalpart: "_irc_bot",
    protocols: [],
    isRateLimited: true,
    receivesEphemeral: false,
    receivesDeviceData: false,
    managesDevices: false,
  });
  assert.deepEqual([aliases, rooms], [[], []]);
  assert.equal(users[0]?.isExclusive, true);
  assert.deepEqual(["@_irc_x:a", "x@_irc_x:a"].map((id) => users[0]?.regex.test(id)), [true, false]);
  const flags = {
    "receive_ephemeral": true,
    "org.matrix.msc3202": true,
    "io.element.msc4190": true,
    rate_limited: false,
  };
  const { receivesEphemeral, receivesDeviceData, managesDevices, isRateLimited } = parse(flags);
  assert.deepEqual([receivesEphemeral, receivesDeviceData, managesDevices, isRateLimited], [true, true, true, false]);
  assert.equal(parse({ url: null }).url, null);
});

Deno.test("parseRegistration() says what is wrong", () => {
  const namespace = (item: unknown) => ({ namespaces: { users: [item] } });
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ id: undefined }, /"id" must be a text/],
    [{ as_token: 1 }, /"as_token" must be a text/],
    [{ url: undefined }, /"url" must be there/],
    [{ url: "ftp://x" }, /"url" must be a URL/],
    [{ namespaces: [] }, /"namespaces" must be a map/],
    [namespace({ exclusive: true }), /namespaces\.users\.0 must have a "regex"/],
    [namespace({ regex: "x" }), /namespaces\.users\.0 must say whether it is "exclusive"/],
    [namespace({ regex: "(", exclusive: true }), /not a regular expression/],
    [{ protocols: "irc" }, /"protocols" must be a list/],
  ];
  for (const [changes, expected] of cases) assert.match(problemOf(changes), expected);
  assert.throws(() => parseRegistration("- a", "irc.yaml"), /must hold a map/);
  assert.throws(() => parseRegistration("a: [", "irc.yaml"), /: irc\.yaml:1:5: this is not valid YAML: [^\n]+$/);
});

Deno.test("loadAppservices() refuses services that cannot be told apart, and files that are not there", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = async (name: string, changes: Record<string, unknown>) => {
      await Deno.writeTextFile(`${folder}/${name}`, stringify({ ...REGISTRATION, ...changes }));
      return `${folder}/${name}`;
    };
    const one = await write("one.yaml", {});
    const sameId = await write("same_id.yaml", { as_token: "other" });
    const sameToken = await write("same_token.yaml", { id: "other" });
    const other = await write("other.yaml", { id: "other", as_token: "other" });
    assert.equal((await loadAppservices([one, other])).length, 2);
    await assert.rejects(loadAppservices([one, sameId]), /have the id "irc"/);
    await assert.rejects(loadAppservices([one, sameToken]), /have the same as_token/);
    await assert.rejects(loadAppservices([`${folder}/none.yaml`]), StartupError);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
