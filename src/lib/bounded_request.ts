/** Requests to services of the operator's choice, bounded in time and size. */

/** What is asked. */
export interface BoundedRequest {
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What was answered. */
export interface BoundedAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

/** Asks a service. Throws when there is no answer in time, or one that is too long. */
export type SendBounded = (url: string, request?: BoundedRequest) => Promise<BoundedAnswer>;

const TIMEOUT_MS = 20_000;
const MAX_BYTES = 1_048_576;

/** Sends one request; redirects are not followed. */
export async function sendBounded(url: string, { method = "GET", headers = {}, body }: BoundedRequest = {}): Promise<
  BoundedAnswer
> {
  const response = await fetch(url, {
    ...{ method, headers: { accept: "application/json", ...headers } },
    redirect: "manual",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(body === undefined ? {} : { body }),
  });
  const contentType = response.headers.get("content-type") ?? "";
  return { status: response.status, contentType, text: await readText(response) };
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new Error(`the answer has more than ${MAX_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
