/** One request with a form to a service of the operator's choice. */

/** Sends a form and returns the answer as JSON; null where it is not JSON. Throws when there is none in time. */
export async function postForm(
  url: string,
  { fields, timeoutMs }: { fields: Readonly<Record<string, string>>; timeoutMs: number },
): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    redirect: "error",
    body: new URLSearchParams(fields),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
