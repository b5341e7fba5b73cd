/**
 * The e-mail addresses and phone numbers of accounts, and where they are published. Spec: client-server API, "Adding Account Administrative
 * Contact Information".
 */
import { IdentityServerError, type IdentityServers } from "../federation/identity_servers.ts";
import type { Clock } from "../lib/clock.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Signer } from "../protocol/signatures.ts";
import type { Database, Tx } from "../storage/database.ts";
import { deleteThreepidBinding, insertThreepidBinding, selectThreepidBindings } from "../storage/threepid_bindings.ts";
import { deleteThreepid, insertThreepid, selectThreepidOwner, selectThreepids } from "../storage/users.ts";
import {
  type EmailValidations,
  parseEmail,
  type ProvenAddress,
  type ThreepidCreds,
  threepidInUse,
} from "./email_validations.ts";
import type { PhoneValidations } from "./phone_validations.ts";
import { isEmailAddress, type ThreepidRules } from "./threepid_rules.ts";

/** What the service is built from. */
export interface ThreepidsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly validations: EmailValidations;
  readonly phones: PhoneValidations;
  readonly rules: ThreepidRules;
  readonly identityServers: Pick<IdentityServers, "bind" | "unbind">;
  readonly signer: Signer;
  /** Runs in the transaction that gives an address to a user or takes it away. */
  readonly onChange: (tx: Tx, change: ThreepidChange) => Promise<void>;
}

/** An address that was given to a user or taken away. */
export interface ThreepidChange {
  readonly kind: "added" | "removed";
  readonly userId: UserId;
  readonly address: string;
  /** Whether it came with a new account. */
  readonly isNewUser: boolean;
}

/** An address of some kind. */
export interface Address {
  readonly medium: string;
  readonly address: string;
}

/** Whether an address is published no more. */
export type UnbindResult = "success" | "no-support";

/** Changes the addresses of accounts. */
export class Threepids {
  readonly #deps: ThreepidsDeps;

  constructor(deps: ThreepidsDeps) {
    this.#deps = deps;
  }

  /** Adds the address that a session has proven. Throws 400 when it has proven none, or another user has it. */
  async add(userId: UserId, creds: ThreepidCreds): Promise<void> {
    const { rules, validations, phones, db } = this.#deps;
    rules.assertMayChange();
    // Which kind of address it is, only its session says.
    const proven = await validations.proven(creds, "add") ?? await phones.proven(creds, "add");
    if (proven === null) {
      throw new MatrixError(400, "M_THREEPID_AUTH_FAILED", "The address has not been validated by this session");
    }
    rules.assertAllowed(proven.medium, proven.address);
    await db.transaction((tx) => this.#give(tx, { userId, proven, isNewUser: false }));
  }

  /** Gives an account that is being made the address that was proven on the way. Throws 400 when it is taken. */
  async giveToNewUser(tx: Tx, { userId, ...proven }: ProvenAddress & { userId: UserId }): Promise<void> {
    this.#deps.rules.assertAllowed(proven.medium, proven.address);
    await this.#give(tx, { userId, proven, isNewUser: true });
  }

  /** Gives a new account an address that another system says is its user's; nothing happens when another has it. */
  async vouchFor(tx: Tx, { userId, address: text }: { userId: UserId; address: string }): Promise<void> {
    const address = text.trim().toLowerCase();
    if (!isEmailAddress(address)) return;
    const now = this.#deps.clock.now();
    if (!await insertThreepid(tx, { userId, medium: "email", address, validatedTs: now, addedTs: now })) return;
    await this.#deps.onChange(tx, { kind: "added", userId, address, isNewUser: true });
  }

  /** Makes the e-mail addresses of a user just these, by the word of the server that has the accounts. */
  async replaceEmails(userId: UserId, addresses: readonly string[]): Promise<void> {
    const wanted = new Set(addresses.map((address) => address.trim().toLowerCase()).filter(isEmailAddress));
    const present = (await selectThreepids(this.#deps.db, userId)).filter(({ medium }) => medium === "email");
    for (const { medium, address } of present) {
      if (!wanted.has(address)) await this.unbind(userId, { medium, address, idServer: null });
    }
    await this.#deps.db.transaction(async (tx) => {
      for (const { medium, address } of present) {
        if (wanted.delete(address)) continue;
        await deleteThreepid(tx, { userId, medium, address });
        await this.#deps.onChange(tx, { kind: "removed", userId, address, isNewUser: false });
      }
      for (const address of wanted) await this.vouchFor(tx, { userId, address });
    });
  }

  /** Throws 400 where one of the addresses is none, or another user has it. */
  async assertFree(userId: UserId, addresses: readonly Address[]): Promise<void> {
    for (const address of addresses.map(normalized)) {
      const owner = await selectThreepidOwner(this.#deps.db, address);
      if (owner !== null && owner !== userId) throw threepidInUse();
    }
  }

  /** Makes these a user's addresses, all of them and no others, at the word of an administrator. */
  async replaceAll(
    userId: UserId,
    { addresses, isNewUser }: { addresses: readonly Address[]; isNewUser: boolean },
  ): Promise<void> {
    const { db, clock, onChange } = this.#deps;
    const wanted = addresses.map(normalized);
    const isSame = (one: Address) => (other: Address) => one.medium === other.medium && one.address === other.address;
    for (const { medium, address } of await selectThreepids(db, userId)) {
      if (!wanted.some(isSame({ medium, address }))) await this.unbind(userId, { medium, address, idServer: null });
    }
    await db.transaction(async (tx) => {
      const known = await selectThreepids(tx, userId);
      for (const { medium, address } of known) {
        if (wanted.some(isSame({ medium, address }))) continue;
        await deleteThreepid(tx, { userId, medium, address });
        if (medium === "email") await onChange(tx, { kind: "removed", userId, address, isNewUser: false });
      }
      const now = clock.now();
      for (const { medium, address } of wanted) {
        if (known.some(isSame({ medium, address }))) continue;
        const row = { userId, medium, address, validatedTs: now, addedTs: now };
        if (!await insertThreepid(tx, row)) throw threepidInUse();
        if (medium === "email") await onChange(tx, { kind: "added", userId, address, isNewUser });
      }
    });
  }

  async #give(
    tx: Tx,
    { userId, proven, isNewUser }: { userId: UserId; proven: ProvenAddress; isNewUser: boolean },
  ): Promise<void> {
    const { medium, address, validatedTs } = proven;
    const addedTs = this.#deps.clock.now();
    if (!await insertThreepid(tx, { userId, medium, address, validatedTs, addedTs })) throw threepidInUse();
    await this.consume(tx, proven);
    if (medium === "email") await this.#deps.onChange(tx, { kind: "added", userId, address, isNewUser });
  }

  /** Ends the session of a proof that was used. */
  async consume(tx: Tx, { medium, sessionId }: Pick<ProvenAddress, "medium" | "sessionId">): Promise<void> {
    const { validations, phones } = this.#deps;
    await (medium === "email" ? validations : phones).consume(tx, sessionId);
  }

  /** Removes one of a user's addresses, and has it published no more; nothing happens when it is not theirs. */
  async remove(userId: UserId, { medium, address, idServer }: Address & { idServer: string | null }): Promise<
    UnbindResult
  > {
    this.#deps.rules.assertMayChange();
    const stored = normalized({ medium, address });
    const result = await this.unbind(userId, { ...stored, idServer });
    await this.#deps.db.transaction(async (tx) => {
      await deleteThreepid(tx, { userId, ...stored });
      await this.#deps.onChange(tx, { kind: "removed", userId, address: stored.address, isNewUser: false });
    });
    return result;
  }

  /** Has an identity server publish the address that its own session has proven. */
  async bind(
    userId: UserId,
    { idServer, idAccessToken, sid, clientSecret }: ThreepidCreds & { idServer: string; idAccessToken: string },
  ): Promise<void> {
    const { identityServers, db } = this.#deps;
    const access = { server: idServer, token: idAccessToken };
    const bound = await asked(idServer, () => identityServers.bind(access, { sid, clientSecret, userId }));
    await db.transaction((tx) => insertThreepidBinding(tx, { userId, idServer, ...bound }));
  }

  /** Has identity servers publish an address no more: the one named, or all that are known of. */
  async unbind(userId: UserId, { medium, address, idServer }: Address & { idServer: string | null }): Promise<
    UnbindResult
  > {
    const { identityServers, db } = this.#deps;
    const stored = normalized({ medium, address });
    const servers = idServer === null ? await selectThreepidBindings(db, { userId, ...stored }) : [idServer];
    let result: UnbindResult = servers.length === 0 ? "no-support" : "success";
    for (const server of servers) {
      try {
        await identityServers.unbind({ server, signer: this.#deps.signer }, { userId, ...stored });
      } catch (error) {
        if (!(error instanceof IdentityServerError)) throw error;
        // Spec: a server that cannot do it is no failure of the request.
        result = "no-support";
        continue;
      }
      await db.transaction((tx) => deleteThreepidBinding(tx, { userId, idServer: server, ...stored }));
    }
    return result;
  }
}

/** The user learns what the identity server said. */
async function asked<T>(server: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof IdentityServerError)) throw error;
    const said = typeof error.body?.error === "string" ? error.body.error.slice(0, 200) : error.message;
    throw new MatrixError(502, "M_UNKNOWN", `The identity server ${server.slice(0, 255)} did not publish it: ${said}`);
  }
}

function normalized({ medium, address }: Address): Address {
  return { medium, address: medium === "email" ? parseEmail(address) : address };
}
