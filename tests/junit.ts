/**
 * Reads the JUnit report of `deno test`: how many cases there were and which failed.
 */

/** The cases of one or more test files. */
export interface Cases {
  readonly passed: number;
  readonly failed: number;
  readonly ignored: number;
  /** The names of the failed cases. */
  readonly failures: readonly string[];
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole, code: string | undefined, name: string | undefined) => {
    if (code !== undefined) return String.fromCodePoint(Number(code));
    return ENTITIES[name ?? ""] ?? whole;
  });
}

/** Counts the cases of a report. Steps of a case are part of it. A report that is cut off counts what it has. */
export function parseJunit(xml: string): Cases {
  let passed = 0;
  let ignored = 0;
  const failures: string[] = [];
  for (const match of xml.matchAll(/<testcase\b([^>]*?)(\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const name = decode(/\bname="([^"]*)"/.exec(match[1] ?? "")?.[1] ?? "?");
    const body = match[3] ?? "";
    if (/<(failure|error)\b/.test(body)) failures.push(name);
    else if (/<skipped\b/.test(body)) ignored += 1;
    else passed += 1;
  }
  return { passed, failed: failures.length, ignored, failures };
}
