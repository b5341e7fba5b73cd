/** How other servers reach this one: delegation, SRV records, the port, the certificate there, and the key served. */
import type { Config } from "../../config/config.ts";
import { DEFAULT_PORT, Discovery, type RouteTarget, type ServerRoute } from "../../federation/discovery.ts";
import type { Dns } from "../../federation/dns.ts";
import type { Clock } from "../../lib/clock.ts";
import { parseServerName, type ServerName } from "../../protocol/ids.ts";
import { splitServerName } from "../../protocol/server_name.ts";
import type { SigningKey } from "../../protocol/signatures.ts";
import { judgeTime } from "./certificate.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import { jsonOf, type Web, type WebReply } from "./web.ts";

/** What is looked at, and by what. */
export interface ServerChecks {
  readonly config: Config;
  readonly web: Web;
  readonly dns: Dns;
  readonly clock: Clock;
  readonly key: SigningKey | null;
}

/** Looks at the server as another server does. */
export async function checkServers(checks: ServerChecks): Promise<Finding[]> {
  const { config, web, dns, clock } = checks;
  if (!config.listeners.some(({ resources }) => resources.some(({ names }) => names.includes("federation")))) {
    return [ok("federation", "no listener serves it: this server talks to no other")];
  }
  const { host, port, isIpLiteral } = splitServerName(config.serverName);
  const delegation = isIpLiteral || port !== null ? null : await readDelegation(host, web);
  const wellKnown = { delegationOf: () => Promise.resolve(delegation?.name ?? null) };
  const route = await new Discovery({ dns, wellKnown, clock }).resolve(config.serverName);
  const findings = delegation === null ? [] : [delegation.finding];
  if (route.targets.length === 0) {
    const message = `the SRV record of ${host} says that there is no Matrix server`;
    return [...findings, fail("federation", { message, advice: "remove the record or name this server in it" })];
  }
  for (const target of route.targets) findings.push(...await checkTarget(checks, { route, target }));
  return findings;
}

async function readDelegation(host: string, web: Web): Promise<{ name: ServerName | null; finding: Finding }> {
  const url = `https://${host}/.well-known/matrix/server`;
  const check = "well-known server";
  const none = (finding: Finding) => ({ name: null, finding });
  try {
    const reply = await web({ url });
    if (reply.status === 404) {
      return none(ok(check, `there is none at ${url}: servers look for SRV records, then port 8448`));
    }
    if (reply.status !== 200) {
      const advice = "serve the document there, or answer 404";
      return none(warn(check, { message: `${url} gives status ${reply.status}`, advice }));
    }
    const given = jsonOf(reply)?.["m.server"];
    const name = typeof given === "string" ? parseServerName(given) : null;
    if (name === null) {
      const advice = `serve {"m.server": "${host}:443"} there, or set serve_server_wellknown`;
      return none(fail(check, { message: `${url} names no server`, advice }));
    }
    return { name, finding: ok(check, `${url} leads to ${name}`) };
  } catch (error) {
    const message = `${url} cannot be reached (${reasonText(error)}): servers look for SRV records, then port 8448`;
    const advice = "that works where one of these leads here; else serve the document";
    return none(warn(check, { message, advice }));
  }
}

async function checkTarget(
  { config, web, clock, key }: ServerChecks,
  { route, target }: { route: ServerRoute; target: RouteTarget },
): Promise<Finding[]> {
  const place = `${target.host} port ${target.port}`;
  let reply: WebReply;
  try {
    reply = await web({
      url: `https://${route.hostHeader}/_matrix/key/v2/server`,
      target: { host: target.host, port: target.port, certName: route.certName },
    });
  } catch (error) {
    return [explainFailure(error, { place, route, port: target.port })];
  }
  const { certificate } = reply;
  const findings = certificate === null ? [] : [judgeServed(certificate, { place, now: clock.now() })];
  const document = jsonOf(reply);
  if (reply.status !== 200 || document === null) {
    const message = `${place} gives status ${reply.status} for /_matrix/key/v2/server`;
    return [
      ...findings,
      fail("federation", { message, advice: "let the proxy pass /_matrix on to this server there too" }),
    ];
  }
  if (document.server_name !== config.serverName) {
    const message = `the server at ${place} says that it is ${document.server_name}, not ${config.serverName}`;
    return [...findings, fail("federation", { message, advice: "correct DNS, delegation or server_name" })];
  }
  return [...findings, judgeKey(document, { key, place })];
}

/** Of the connection that was made, so that its name and authority are right already. */
function judgeServed(
  certificate: NonNullable<WebReply["certificate"]>,
  { place, now }: { place: string; now: number },
): Finding {
  const judged = judgeTime(certificate, now);
  return { ...judged, message: `at ${place}: ${judged.message}` };
}

function explainFailure(
  error: unknown,
  { place, route, port }: { place: string; route: ServerRoute; port: number },
): Finding {
  const message = reasonText(error);
  if (/expired/i.test(message)) {
    return fail("certificate", { message: `at ${place}: it has ended`, advice: "renew it" });
  }
  if (/altnames|does not match|NotValidForName|not valid for name/i.test(message)) {
    return fail("certificate", {
      message: `at ${place}: it is not for ${route.certName}`,
      advice: `get one for ${route.certName}, or delegate by /.well-known/matrix/server to the name it has`,
    });
  }
  if (/certificate|self.signed|UnknownIssuer/i.test(message)) {
    return fail("certificate", {
      message: `at ${place}: ${message}`,
      advice: "serve the full chain of a certificate that a public authority signed",
    });
  }
  const advice = port === DEFAULT_PORT
    ? "open port 8448 to this server or its proxy, or delegate to port 443 (serve_server_wellknown)"
    : "open that port, or correct the delegation";
  return fail("federation", { message: `${place} cannot be reached: ${message}`, advice });
}

function judgeKey(
  document: Readonly<Record<string, unknown>>,
  { key, place }: { key: SigningKey | null; place: string },
): Finding {
  if (key === null) return ok("federation", `${place} answers`);
  const keys = document.verify_keys as Readonly<Record<string, { key?: unknown }>> | undefined;
  const served = keys?.[key.keyId]?.key;
  if (served === key.verifyKey.base64) {
    return ok("federation", `${place} answers, with the key of this configuration`);
  }
  return fail("federation", {
    message: `${place} serves other signing keys (${
      Object.keys(keys ?? {}).join(", ") || "none"
    }) than this configuration's`,
    advice: "another server answers there, or this one runs with another signing_key_path",
  });
}
