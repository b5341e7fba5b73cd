/**
 * Transactions. Spec: server-server API, "Transactions".
 *   PUT /_matrix/federation/v1/send/{txnId}
 */
import type { FederationInbox } from "../../services/federation_inbox.ts";
import type { App } from "../app.ts";
import { pathText } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the route is built from. */
export interface TransactionRoutesDeps {
  readonly auth: FederationAuth;
  readonly inbox: FederationInbox;
}

/** Fifty events of the largest size, and as much for EDUs. */
const MAX_TRANSACTION_BYTES = 8 * 1024 * 1024;

/** Registers the endpoint. */
export function transactionRoutes(app: App, { auth, inbox }: TransactionRoutesDeps): void {
  signed(app, auth).put("/v1/send/:txnId", async (c, { origin, body }) => {
    return jsonText(await inbox.receive(origin, { txnId: pathText(c, "txnId"), body }));
  }, { maxBytes: MAX_TRANSACTION_BYTES });
}
