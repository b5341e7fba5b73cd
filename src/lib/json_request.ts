/** One request with JSON to a server of the operator's choice, as commands need it. */

const TIMEOUT_MS = 60_000;

/** What the server answered; `body` is null where it is not JSON. */
export interface JsonAnswer {
  readonly status: number;
  /** The words beside the status. */
  readonly reason: string;
  readonly body: unknown;
}

/** Sends GET, or POST where there is a body; throws when the server cannot be reached. */
export async function requestJson(url: string, body?: unknown): Promise<JsonAnswer> {
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    redirect: "manual",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  const text = await response.text();
  return { status: response.status, reason: response.statusText, body: parse(text) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
