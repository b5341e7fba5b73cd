import { deepEqual, equal, ok } from "node:assert/strict";
import { coverageGaps } from "./coverage.ts";

const JOINED = "GET /_matrix/client/v3/joined_rooms";
const CREATE = "POST /_matrix/client/v3/createRoom";
const MEMBERS = "GET /_matrix/client/v3/rooms/{roomId}/joined_members";

async function gapsOf(...notes: readonly (readonly string[])[]): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-coverage-" });
  try {
    for (const [index, lines] of notes.entries()) await Deno.writeTextFile(`${folder}/${index}.txt`, lines.join("\n"));
    return await coverageGaps(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("what no process has noted is a gap", async () => {
  const gaps = await gapsOf([]);
  ok(gaps.includes(`${JOINED}: no test has a success, nor a request without a token`));
  ok(gaps.some((gap) => gap.startsWith(`${CREATE}: `) && gap.endsWith("a refusal with 400")));
  ok(gaps.some((gap) => gap.startsWith(`${MEMBERS}: `) && gap.endsWith("a refusal with 403 or 404")));
});

Deno.test("the notes of all processes count together", async () => {
  const gaps = await gapsOf([`${JOINED} 200`, `${CREATE} 200`], [`${JOINED} 401`, `${CREATE} 500`]);
  deepEqual(gaps.filter((gap) => gap.startsWith(JOINED)), []);
  equal(gaps.filter((gap) => gap.startsWith(CREATE)).length, 1);
});

Deno.test("nothing is asked of what the server does not do", async () => {
  const gaps = await gapsOf([]);
  deepEqual(gaps.filter((gap) => gap.startsWith("POST /_matrix/client/v3/account/password/msisdn/requestToken")), [
    "POST /_matrix/client/v3/account/password/msisdn/requestToken: no test has a success, nor a refusal with 400",
  ]);
});
