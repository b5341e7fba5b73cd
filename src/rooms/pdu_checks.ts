/** The checks of a PDU that need no room: format, hash, signatures. Spec: "Checks performed on receipt of a PDU". */
import type { SignatureChecks } from "../federation/signature_checks.ts";
import { nextTurn } from "../lib/turn.ts";
import { parsePdu, pduJson } from "../protocol/event_format.ts";
import { checkContentHash } from "../protocol/hashes.ts";
import type { EventId, RoomId } from "../protocol/ids.ts";
import { redactEvent } from "../protocol/redaction.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";
import type { ReceivedEvent } from "./receive.ts";

/** An event that may go on, or why not. The id is null where the format is so wrong that there is none. */
export type CheckedPdu =
  | { readonly ok: true; readonly received: ReceivedEvent }
  | { readonly ok: false; readonly eventId: EventId | null; readonly reason: string };

/** Verifying this many signatures takes some milliseconds. */
const CHECKS_A_TURN = 50;

/** Checks PDUs. */
export class PduChecks {
  readonly #signatures: SignatureChecks;

  constructor(signatures: SignatureChecks) {
    this.#signatures = signatures;
  }

  /** Checks one PDU, parsed with exact numbers. A wrong hash takes its content away. */
  async check(pdu: unknown, { rules, roomId }: { rules: RoomVersionRules; roomId: RoomId }): Promise<CheckedPdu> {
    const parsed = parsePdu(pdu, rules);
    if (!parsed.ok) return { ok: false, eventId: null, reason: parsed.reason };
    const { event, json } = parsed;
    if (event.roomId !== roomId) return { ok: false, eventId: event.eventId, reason: "The event is of another room" };
    const unsigned = await this.#signatures.event(event);
    if (unsigned !== null) {
      return { ok: false, eventId: event.eventId, reason: `The event has no good signature of "${unsigned}"` };
    }
    if (checkContentHash(event.pdu)) return { ok: true, received: { event, json } };
    const redacted = redactEvent(event);
    return { ok: true, received: { event: redacted, json: pduJson(redacted) } };
  }

  /** Returns those of many PDUs of one room that pass, each once. */
  async passing(
    pdus: readonly unknown[],
    room: { rules: RoomVersionRules; roomId: RoomId },
  ): Promise<ReceivedEvent[]> {
    const found = new Map<EventId, ReceivedEvent>();
    for (let start = 0; start < pdus.length; start += CHECKS_A_TURN) {
      const checked = await Promise.all(pdus.slice(start, start + CHECKS_A_TURN).map((pdu) => this.check(pdu, room)));
      for (const outcome of checked) {
        if (outcome.ok) found.set(outcome.received.event.eventId, outcome.received);
      }
      await nextTurn();
    }
    return [...found.values()];
  }
}
