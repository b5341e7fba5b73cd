/** How clients reach the server: well-known document, the public URL, and what a proxy makes of requests. */
import type { Config } from "../../config/config.ts";
import { splitServerName } from "../../protocol/server_name.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import { jsonOf, type Web, type WebReply } from "./web.ts";

const WELL_KNOWN = "/.well-known/matrix/client";
const UPLOAD_PATH = "/_matrix/media/v3/upload";

/** Looks at the server as a client does that knows a user id only. */
export async function checkClients(config: Config, web: Web): Promise<Finding[]> {
  const { host, isIpLiteral } = splitServerName(config.serverName);
  const findings: Finding[] = [];
  if (!isIpLiteral) findings.push(await checkWellKnown(config, { url: `https://${host}${WELL_KNOWN}`, web }));
  const base = config.publicBaseurl;
  let versions: WebReply;
  try {
    versions = await web({ url: `${base}_matrix/client/versions` });
  } catch (error) {
    findings.push(fail("public URL", {
      message: `${base} cannot be reached from here: ${reasonText(error)}`,
      advice: "check DNS, firewall and proxy; where it works from outside only, hairpin NAT is missing here",
    }));
    return findings;
  }
  if (versions.status !== 200 || !Array.isArray(jsonOf(versions)?.versions)) {
    findings.push(fail("public URL", {
      message: `${base}_matrix/client/versions gives status ${versions.status} and no list of versions`,
      advice:
        `let the proxy pass /_matrix and /_synapse/client on to this server; set public_baseurl where it is not ${base}`,
    }));
    return findings;
  }
  findings.push(ok("public URL", `${base} answers`), judgeCors(versions, `${base}_matrix/client/versions`));
  findings.push(await checkEncodedPaths(config, web), ...await checkUploads(config, web));
  return findings;
}

async function checkWellKnown(config: Config, { url, web }: { url: string; web: Web }): Promise<Finding> {
  const needed = config.hasPublicBaseurl && new URL(config.publicBaseurl).host !== config.serverName;
  const trouble = needed ? fail : warn;
  const advice = `serve {"m.homeserver": {"base_url": "${config.publicBaseurl}"}} there: ` +
    "pass the path on to this server (with public_baseurl set) or write the file";
  let reply: WebReply;
  try {
    reply = await web({ url });
  } catch (error) {
    return trouble("well-known client", { message: `${url} cannot be reached: ${reasonText(error)}`, advice });
  }
  if (reply.status !== 200) {
    return trouble("well-known client", { message: `${url} gives status ${reply.status}`, advice });
  }
  const homeserver = jsonOf(reply)?.["m.homeserver"];
  const given = (homeserver as { base_url?: unknown } | undefined)?.base_url;
  if (typeof given !== "string") return fail("well-known client", { message: `${url} names no homeserver`, advice });
  if (withSlash(given) !== config.publicBaseurl) {
    return fail("well-known client", {
      message: `${url} sends clients to ${given}, and public_baseurl is ${config.publicBaseurl}`,
      advice: "make the two the same",
    });
  }
  if (reply.header("access-control-allow-origin") !== "*") return judgeCors(reply, url);
  return ok("well-known client", `${url} leads to ${given}`);
}

function withSlash(url: string): string {
  return url.endsWith("/") ? url : `${url}/`;
}

function judgeCors(reply: WebReply, url: string): Finding {
  const given = reply.header("access-control-allow-origin");
  if (given === "*") return ok("CORS", "browsers may use it");
  const message = given === null
    ? `${url} comes without Access-Control-Allow-Origin: clients in browsers do not work`
    : `${url} comes with Access-Control-Allow-Origin: ${given}`;
  const advice = given === null
    ? "add the header `Access-Control-Allow-Origin: *` there"
    : "the server sets the header itself: take it out of the proxy's configuration";
  return fail("CORS", { message, advice });
}

/** An alias with a slash and a number sign: a proxy that decodes the path makes another path of it. */
async function checkEncodedPaths(config: Config, web: Web): Promise<Finding> {
  const alias = encodeURIComponent(`#doctor/probe:${config.serverName}`);
  try {
    const reply = await web({ url: `${config.publicBaseurl}_matrix/client/v3/directory/room/${alias}` });
    const { errcode } = jsonOf(reply) ?? {};
    if (reply.status === 404 && errcode === "M_NOT_FOUND") return ok("proxy", "encoded paths arrive as they were sent");
    return fail("proxy", {
      message: `it changes encoded paths (%2F): the answer was ${reply.status} ${errcode ?? ""}`.trimEnd(),
      advice: "nginx: no URI after the port in proxy_pass; Apache: nocanon and AllowEncodedSlashes NoDecode",
    });
  } catch (error) {
    return fail("proxy", {
      message: `a request with an encoded path fails: ${reasonText(error)}`,
      advice: "look into the log of the proxy",
    });
  }
}

/** Announces an upload of the allowed size without sending it: a proxy that would not let it through says so at once. */
async function checkUploads(config: Config, web: Web): Promise<Finding[]> {
  const url = `${config.publicBaseurl}${UPLOAD_PATH.slice(1)}`;
  try {
    const headers = { "content-length": String(config.media.maxUploadSize), "content-type": "image/png" };
    const { status } = await web({ url, method: "POST", headers });
    if (status !== 413) return [];
    return [fail("proxy", {
      message: "it refuses uploads that max_upload_size allows (status 413)",
      advice: "nginx: client_max_body_size as large as max_upload_size",
    })];
  } catch {
    // A proxy may hang up on a body that does not come.
    return [];
  }
}
