/**
 * Messages from device to device. Spec: client-server API, "Send-to-Device messaging".
 *
 * A message waits in the recipient's inbox until a /sync whose token is at or past it: giving it out does not remove
 * it, acknowledging does, so nothing is lost when an answer does not arrive.
 */
import type { Clock } from "../lib/clock.ts";
import { tooLarge } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectDeviceIds } from "../storage/devices.ts";
import { advanceStream } from "../storage/streams.ts";
import {
  deleteToDeviceMessages,
  insertToDeviceMessages,
  insertToDeviceTransaction,
  selectToDeviceMessages,
} from "../storage/to_device.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface ToDeviceDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly notifier: Notifier;
  readonly isLocal: (userId: UserId) => boolean;
  /** Hands over what is for users of other servers, to be sent once the transaction is committed. */
  readonly sendRemote?: (
    tx: Tx,
    message: { readonly sender: UserId; readonly type: string; readonly messages: ToDeviceContents },
  ) => Promise<void>;
}

/** As much as an event may hold, in UTF-16 units: what one message to a device costs is multiplied by its devices. */
const MAX_MESSAGE_LENGTH = 65_536;
const MAX_RECIPIENTS = 20_000;

/** Contents by recipient and device; the device `*` stands for all of the user's devices. */
export type ToDeviceContents = ReadonlyMap<UserId, ReadonlyMap<string, JsonObject>>;

/** Delivers messages to inboxes and reads them back. */
export class ToDeviceService {
  readonly #deps: ToDeviceDeps;

  constructor(deps: ToDeviceDeps) {
    this.#deps = deps;
  }

  /** Sends one type of message to many devices, once per transaction id of the sending device. */
  async send(
    requester: Requester,
    { type, txnId, messages }: { type: string; txnId: string; messages: ToDeviceContents },
  ): Promise<void> {
    const texts = this.#texts(requester.userId, { type, messages });
    await this.#deps.db.transaction(async (tx) => {
      const isNew = await insertToDeviceTransaction(tx, {
        userId: requester.userId,
        deviceId: requester.deviceId ?? "",
        // The endpoint is part of what a transaction id belongs to, and the type of the endpoint.
        txnId: `${type} ${txnId}`,
        createdTs: this.#deps.clock.now(),
      });
      if (!isNew) return;
      const recipients = await recipientsOf(tx, texts);
      if (recipients.length > MAX_RECIPIENTS) throw tooLarge("Too many devices in one request");
      await this.deliver(tx, recipients);
      const remote = new Map([...messages].filter(([userId]) => !this.#deps.isLocal(userId)));
      if (remote.size > 0) await this.#deps.sendRemote?.(tx, { sender: requester.userId, type, messages: remote });
    });
  }

  /** Delivers what another server brings, within a transaction. */
  async receive(
    tx: Tx,
    { sender, type, messages }: { sender: UserId; type: string; messages: ToDeviceContents },
  ): Promise<void> {
    await this.deliver(tx, await recipientsOf(tx, this.#texts(sender, { type, messages })));
  }

  /** Puts events into inboxes of local devices within a transaction. */
  async deliver(
    tx: Tx,
    recipients: readonly { userId: UserId; deviceId: DeviceId; json: string }[],
  ): Promise<void> {
    if (recipients.length === 0) return;
    const first = await advanceStream(tx, "to_device", recipients.length);
    await insertToDeviceMessages(tx, recipients.map((message, index) => ({ ...message, position: first + index })));
    const users = new Set(recipients.map((message) => message.userId));
    tx.afterCommit(() => this.#deps.notifier.publish("to_device", first + recipients.length - 1, users));
  }

  /** Returns the texts of the messages for a device in `(after, upTo]`, and up to which position they reach. */
  async messages(
    range: { userId: UserId; deviceId: DeviceId; after: number; upTo: number; limit: number },
  ): Promise<{ events: string[]; upTo: number }> {
    if (range.upTo <= range.after) return { events: [], upTo: range.upTo };
    const rows = await selectToDeviceMessages(this.#deps.db, range);
    const last = rows.at(-1);
    return {
      events: rows.map((row) => row.json),
      upTo: last && rows.length === range.limit ? last.position : range.upTo,
    };
  }

  /** Forgets the messages up to a position that the device has acknowledged. */
  async acknowledge(range: { userId: UserId; deviceId: DeviceId; upTo: number }): Promise<void> {
    const waiting = await selectToDeviceMessages(this.#deps.db, { ...range, after: 0, limit: 1 });
    if (waiting.length > 0) await this.#deps.db.transaction((tx) => deleteToDeviceMessages(tx, range));
  }

  /** Returns the event for each device, or all devices, of a local user that is addressed. */
  #texts(sender: UserId, { type, messages }: { type: string; messages: ToDeviceContents }): AddressedText[] {
    const texts: AddressedText[] = [];
    for (const [userId, byDevice] of messages) {
      if (!this.#deps.isLocal(userId)) continue;
      for (const [target, content] of byDevice) {
        const json = JSON.stringify({ type, sender, content });
        if (json.length > MAX_MESSAGE_LENGTH) throw tooLarge("A message to a device is too large");
        texts.push({ userId, target, json });
      }
    }
    return texts;
  }
}

/** A message to a device, or to all devices. */
interface AddressedText {
  readonly userId: UserId;
  readonly target: string;
  readonly json: string;
}

/**
 * Returns whom messages go to: those of the devices that are there. Asked within the transaction, where it also costs
 * least: SQLite keeps what the connection that writes has read.
 */
async function recipientsOf(
  tx: Tx,
  texts: readonly AddressedText[],
): Promise<{ userId: UserId; deviceId: DeviceId; json: string }[]> {
  const devices = new Map<UserId, readonly DeviceId[]>();
  const recipients: { userId: UserId; deviceId: DeviceId; json: string }[] = [];
  for (const { userId, target, json } of texts) {
    const ids = devices.get(userId) ?? await selectDeviceIds(tx, userId);
    devices.set(userId, ids);
    for (const deviceId of ids) if (target === "*" || target === deviceId) recipients.push({ userId, deviceId, json });
  }
  return recipients;
}
