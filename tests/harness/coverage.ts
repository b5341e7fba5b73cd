/**
 * Which operations of the specification the tests have exercised, and how those ended.
 *
 * Where `TEST_COVERAGE_DIR` names a folder, every process of a run notes its exchanges and leaves a file there; the runner
 * reads them all after a full run. What hostile requests meet does not count: they ask for no particular answer.
 */
import { randomUUID } from "node:crypto";
import { exchangeChecks } from "./client.ts";
import { findOperation, type Operation, OPERATIONS } from "./openapi.ts";

const NO_POLICY_SERVER = "this is no policy server";

type Kind = "a success" | "a request without a token" | "a refusal with 403 or 404" | "a refusal with 400";

/** What an operation cannot be tested for, with the reason. Sorted. */
const GAPS: Readonly<Record<string, Partial<Record<Kind, string>>>> = {
  "GET /.well-known/matrix/policy_server": { "a success": NO_POLICY_SERVER },
  "GET /_matrix/client/v3/login": { "a refusal with 403 or 404": "there always is a way to log in" },
  "POST /_matrix/client/v3/account/password/email/requestToken": {
    "a refusal with 403 or 404": "whoever has an address may reset the password with it, whatever is allowed by now",
  },
  "POST /_matrix/client/v3/account/password/msisdn/requestToken": {
    "a refusal with 403 or 404": "whoever has a number may reset the password with it, whatever is allowed by now",
  },
};

const seen = new Set<string>();
const folder = Deno.env.get("TEST_COVERAGE_DIR") ?? "";
const isRecording = folder !== "" && !Deno.mainModule.includes("/tests/hostile/");

/** Notes one answer, where a run asked for that. */
export function noteAnswer({ method, path, status }: { method: string; path: string; status: number }): void {
  if (!isRecording) return;
  // What an application of the old path `r0` gets is what `v3` describes.
  const operation = findOperation(method, path.replace(/^\/_matrix\/client\/r0\//, "/_matrix/client/v3/"));
  if (operation !== null) seen.add(`${keyOf(operation)} ${status}`);
}

/** Notes all exchanges of this process, where a run asked for that. */
export function recordCoverage(): void {
  if (!isRecording) return;
  exchangeChecks.add(({ method, path, answer }) => noteAnswer({ method, path, status: answer.status }));
}

if (isRecording) {
  globalThis.addEventListener("unload", () => {
    Deno.writeTextFileSync(`${folder}/${randomUUID()}.txt`, [...seen].sort().join("\n"));
  });
}

/** Reads what the processes of a run have noted; returns a sentence for each operation that lacks a test. */
export async function coverageGaps(notes: string): Promise<string[]> {
  const statuses = await readStatuses(notes);
  return OPERATIONS.flatMap((operation) => {
    const key = keyOf(operation);
    const found = [...statuses.get(key) ?? []];
    const lacks = kindsOf(operation).filter(([kind, fits]) => !found.some(fits) && GAPS[key]?.[kind] === undefined);
    return lacks.length === 0 ? [] : [`${key}: no test has ${lacks.map(([kind]) => kind).join(", nor ")}`];
  });
}

function kindsOf(operation: Operation): [Kind, (status: number) => boolean][] {
  const kinds: [Kind, (status: number) => boolean][] = [["a success", (status) => status < 400]];
  const { security, body, path, responses } = operation;
  if (security[0] === "accessTokenBearer") kinds.push(["a request without a token", (status) => status === 401]);
  if (path.includes("{roomId") || "403" in responses || "404" in responses) {
    kinds.push(["a refusal with 403 or 404", (status) => status === 403 || status === 404]);
  }
  if (body?.content["application/json"] !== undefined) kinds.push(["a refusal with 400", (status) => status === 400]);
  return kinds;
}

function keyOf({ method, path }: Operation): string {
  return `${method} ${path}`;
}

async function readStatuses(notes: string): Promise<Map<string, Set<number>>> {
  const statuses = new Map<string, Set<number>>();
  for await (const { name } of Deno.readDir(notes)) {
    for (const line of (await Deno.readTextFile(`${notes}/${name}`)).split("\n")) {
      const at = line.lastIndexOf(" ");
      const key = line.slice(0, at);
      statuses.set(key, (statuses.get(key) ?? new Set()).add(Number(line.slice(at + 1))));
    }
  }
  return statuses;
}
