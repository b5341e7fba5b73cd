/**
 * Every response of the integration tests is checked against the specification: `TestServer` switches this on.
 *
 * A response to an operation that the OpenAPI data describes must have a described status and fit the schema of it. A
 * refusal must be a Matrix error whatever was asked. Paths that the data does not know (unstable, admin) are free
 * otherwise. To let a response differ on purpose, add a line to `DEVIATIONS` that says why.
 */
import { type Exchange, type ExchangeCheck, exchangeChecks } from "./client.ts";
import { schemaProblems } from "./json_schema.ts";
import { findOperation, type Operation } from "./openapi.ts";

/** Where a response differs from the data and is right to. */
interface Deviation {
  /** `METHOD /path` as in the data, or a pattern of such. */
  readonly operation: string | RegExp;
  /** Which queries it is about; all by default. */
  readonly query?: RegExp;
  readonly problem: RegExp;
  readonly why: string;
}

const DEVIATIONS: readonly Deviation[] = [
  {
    operation: /./,
    problem: /\.avatar_url: .*(does not match|is no mx-mxc-uri|is no uri)/,
    why: "shown as a user wrote it into an event, as other content of events is; servers of others write such too",
  },
  {
    operation: "GET /_matrix/client/v3/rooms/{roomId}/joined_members",
    problem: /\.(display_name|avatar_url): null is not string$/,
    why: "Complement (csapi/apidoc_room_state_test.go) wants both keys of those who have set neither, as Synapse does",
  },
  {
    operation: "GET /_matrix/client/v3/sync",
    query: /[?&]filter=/,
    problem: /\.events\[\d+\]: "\w+" is missing/,
    why: "the filter's event_fields leave out what the schema requires: /client-server-api/#filtering",
  },
  {
    operation: "GET /_matrix/client/v3/voip/turnServer",
    problem: /^\$: "\w+" is missing in \{\}$/,
    why: "without a TURN server the answer is empty, as Synapse gives it and clients understand it",
  },
  ...["send/{eventType}/{txnId}", "state/{eventType}/{stateKey}"].map((tail) => ({
    operation: `PUT /_matrix/client/v3/rooms/{roomId}/${tail}`,
    query: /[?&]org\.matrix\.msc4140\.delay=/,
    problem: /^\$: "event_id" is missing/,
    why: "a delayed event has no id yet: MSC4140 gives the id of the delay",
  })),
];

/** Switches the check on for the rest of the process. */
export function checkResponses(): void {
  exchangeChecks.add(checkExchange);
}

const checkExchange: ExchangeCheck = (exchange) => {
  const problems = responseProblems(exchange);
  if (problems.length === 0) return;
  const { method, path, answer } = exchange;
  throw new Error(
    `The answer ${answer.status} to ${method} ${path.slice(0, 300)} is not as specified:\n  ${problems.join("\n  ")}`,
  );
};

/** Returns what is wrong with a response. */
export function responseProblems({ method, path, answer }: Exchange): string[] {
  // What an application of the old path `r0` gets is what `v3` describes.
  const operation = findOperation(method, path.replace(/^\/_matrix\/client\/r0\//, "/_matrix/client/v3/"));
  const problems = answer.status >= 400 ? errorProblems({ path, answer }) : successProblems(operation, answer);
  if (operation === null) return problems;
  const isMeant = (deviation: Deviation) =>
    matches(deviation.operation, `${method} ${operation.path}`) && (deviation.query?.test(path) ?? true);
  const deviations = DEVIATIONS.filter(isMeant);
  return problems.filter((text) => !deviations.some(({ problem }) => problem.test(text)));
}

function matches(pattern: string | RegExp, text: string): boolean {
  return typeof pattern === "string" ? pattern === text : pattern.test(text);
}

function successProblems(operation: Operation | null, answer: Exchange["answer"]): string[] {
  if (operation === null) return [];
  const contents = operation.responses[String(answer.status)];
  if (contents === undefined) return [`status ${answer.status} is not described`];
  const schema = contents["application/json"];
  if (schema === undefined) return [];
  if (!isJson(answer)) return [`content type is ${answer.headers.get("content-type")}`];
  return schemaProblems(schema, answer.body);
}

/** The states of user-interactive authentication have an `errcode` only after a failed stage. */
function errorProblems({ path, answer }: Pick<Exchange, "path" | "answer">): string[] {
  if (!path.startsWith("/_matrix/") && !path.startsWith("/_synapse/admin/")) return [];
  const { body, status } = answer;
  if (/\/submit_token|\/fallback\/web|^\/_matrix\/(consent|static)|\/account_validity\/renew/.test(path)) {
    // Pages for people.
    return /^(text\/html|application\/json)/.test(answer.headers.get("content-type") ?? "") ? [] : ["this is no page"];
  }
  if (!isJson(answer) || typeof body !== "object" || body === null) return ["the error is not a JSON object"];
  if (status === 401 && Array.isArray(body.flows)) {
    const stages = body.flows.every((flow: { stages?: unknown }) => Array.isArray(flow.stages));
    return stages && typeof body.session === "string" && typeof body.params === "object"
      ? []
      : ["the UIA state is broken"];
  }
  const problems: string[] = [];
  if (!/^[A-Z]+(\.[A-Z0-9]+)*_[A-Z0-9_]+$/i.test(body.errcode)) problems.push(`errcode is ${body.errcode}`);
  if (typeof body.error !== "string" || body.error === "") problems.push(`error is ${body.error}`);
  if (status === 429 && !Number.isInteger(body.retry_after_ms)) problems.push("retry_after_ms is missing");
  return problems;
}

function isJson({ headers }: Exchange["answer"]): boolean {
  return headers.get("content-type")?.startsWith("application/json") === true;
}
