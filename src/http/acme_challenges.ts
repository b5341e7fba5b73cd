/**
 * Where ACME servers look for the proof that a name leads here.
 *   GET /.well-known/acme-challenge/{token} (HTTP-01, RFC 8555 section 8.3)
 *
 * There is no TLS-ALPN-01 (RFC 8737): the certificate to show for it has a critical extension that Deno's TLS (rustls)
 * does not know, and it refuses to serve a certificate it does not know all critical parts of.
 */
import { notFound } from "../protocol/errors.ts";
import type { AcmeChallenges } from "../services/acme_challenges.ts";
import { type App, createApp, plain } from "./app.ts";
import { createHandler, type HandlerDeps } from "./handler.ts";

/** Registers the endpoint. */
export function acmeChallengeRoutes(app: App, challenges: AcmeChallenges): void {
  plain(app).get("/.well-known/acme-challenge/:token", (c) => {
    const answer = challenges.answerOf(c.req.param("token") ?? "");
    if (answer === null) throw notFound();
    return new Response(answer, { headers: { "content-type": "application/octet-stream" } });
  });
}

/** Makes what answers on the port that is open for challenges only. */
export function challengeHandler(
  deps: Omit<HandlerDeps, "app">,
  challenges: AcmeChallenges,
): ReturnType<typeof createHandler> {
  const app = createApp();
  acmeChallengeRoutes(app, challenges);
  return createHandler({ ...deps, app }, {
    resources: new Set(),
    xForwarded: false,
    requestIdHeader: null,
    name: "acme",
  });
}
