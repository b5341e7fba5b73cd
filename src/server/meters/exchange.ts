/** Transactions with other servers. */
import type { Metrics } from "../../lib/metrics.ts";
import { Tally } from "../../lib/tally.ts";
import type { ServerName } from "../../protocol/ids.ts";
import type { ExchangedTransaction } from "../../workers/federation_sender.ts";
import { addTally } from "./tallies.ts";

/** Where those who exchange transactions tell of them. */
export interface ExchangeMeter {
  readonly onSent: (size: ExchangedTransaction) => void;
  readonly onReceived: (size: ExchangedTransaction) => void;
}

/** Adds the metrics and returns what to tell. */
export function exchangeMeter(metrics: Metrics, domains: ReadonlySet<string>): ExchangeMeter {
  const counter = (name: string, help: string) => {
    const counts = { count: 0 };
    metrics.counted({ name, help }, () => counts.count);
    return counts;
  };
  const sent = {
    transactions: counter("synapse_federation_client_sent_transactions_total", "Transactions that other servers took"),
    pdus: counter("synapse_ts_federation_sent_pdus_total", "Events that other servers took, each time for each server"),
    edus: counter("synapse_federation_client_sent_edus_total", "EDUs that other servers took"),
  };
  const types = new Tally("type");
  addTally(metrics, {
    name: "synapse_federation_client_sent_edus_by_type_total",
    help: "EDUs that other servers took, by type",
    tally: types,
  });
  const received = {
    transactions: counter("synapse_ts_federation_received_transactions_total", "Transactions of other servers"),
    pdus: counter("synapse_federation_server_received_pdus_total", "Events that other servers sent"),
    edus: counter("synapse_federation_server_received_edus_total", "EDUs that other servers sent"),
  };
  const last = lastPduTimes(metrics);
  const add = (kind: "sent" | "received", { server, pdus, edus, lastTs, eduTypes }: ExchangedTransaction) => {
    const counters = kind === "sent" ? sent : received;
    counters.transactions.count++;
    counters.pdus.count += pdus;
    counters.edus.count += edus;
    for (const type of eduTypes?.() ?? []) types.add([type]);
    if (lastTs !== null && domains.has(server)) last[kind].set(server, lastTs / 1_000);
  };
  return { onSent: (done) => add("sent", done), onReceived: (done) => add("received", done) };
}

/** When the last event sent to, or received from, each of the servers in `federation_metrics_domains` was made. */
function lastPduTimes(
  metrics: Metrics,
): { readonly sent: Map<ServerName, number>; readonly received: Map<ServerName, number> } {
  const last = { sent: new Map<ServerName, number>(), received: new Map<ServerName, number>() };
  const gauge = (
    { name, help, label }: { name: string; help: string; label: string },
    times: Map<ServerName, number>,
  ) =>
    metrics.gauge(
      { name, help, labels: [label] },
      () => [...times].map(([server, time]) => [{ [label]: server }, time]),
    );
  const sent = "The time of the last event sent to a server of federation_metrics_domains";
  gauge({ name: "synapse_federation_last_sent_pdu_time", help: sent, label: "destination_server_name" }, last.sent);
  const received = "The time of the last event received from a server of federation_metrics_domains";
  gauge(
    { name: "synapse_federation_last_received_pdu_time", help: received, label: "origin_server_name" },
    last.received,
  );
  return last;
}
