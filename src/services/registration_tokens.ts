/** Tokens that let people register, as administrators make them. */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { invalidParam, notFound } from "../protocol/errors.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteRegistrationToken,
  insertRegistrationToken,
  type RegistrationToken,
  selectRegistrationToken,
  selectRegistrationTokens,
  updateRegistrationToken,
} from "../storage/registration_tokens.ts";

const MAX_LENGTH = 64;
const DEFAULT_LENGTH = 16;
const GRAMMAR = /^[A-Za-z0-9._~-]+$/;

/** Makes, changes and lists tokens. */
export class RegistrationTokens {
  readonly #db: Database;
  readonly #clock: Clock;

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Returns the tokens that can still be used, or those that cannot, or all. */
  async list(isValid: boolean | null): Promise<RegistrationToken[]> {
    const now = this.#clock.now();
    const all = await selectRegistrationTokens(this.#db);
    return isValid === null ? all : all.filter((token) => isUsable(token, now) === isValid);
  }

  /** Returns a token. Throws 404. */
  async get(token: string): Promise<RegistrationToken> {
    const found = await selectRegistrationToken(this.#db, token);
    if (found === null) throw notFound(`No such registration token: ${token}`);
    return found;
  }

  /** Makes a token of the given name, or of a random one. */
  async create(body: JsonObject): Promise<RegistrationToken> {
    const token = body["token"] === undefined ? randomString(lengthIn(body)) : nameIn(body);
    const usesAllowed = usesIn(body) ?? null;
    const expiresTs = this.#expiryIn(body) ?? null;
    const isNew = await this.#db.transaction((tx) => insertRegistrationToken(tx, { token, usesAllowed, expiresTs }));
    if (!isNew) throw invalidParam(`Token already exists: ${token}`);
    return { token, usesAllowed, pending: 0, completed: 0, expiresTs };
  }

  /** Changes how often and until when a token can be used; what is not named stays. Throws 404. */
  async update(token: string, body: JsonObject): Promise<RegistrationToken> {
    const [usesAllowed, expiresTs] = [usesIn(body), this.#expiryIn(body)];
    return await this.#db.transaction(async (tx) => {
      const before = await selectRegistrationToken(tx, token);
      if (before === null) throw notFound(`No such registration token: ${token}`);
      const after = {
        ...before,
        ...(usesAllowed === undefined ? {} : { usesAllowed }),
        ...(expiresTs === undefined ? {} : { expiresTs }),
      };
      await updateRegistrationToken(tx, after);
      return after;
    });
  }

  /** Deletes a token. Throws 404. */
  async delete(token: string): Promise<void> {
    if (!await this.#db.transaction((tx) => deleteRegistrationToken(tx, token))) {
      throw notFound(`No such registration token: ${token}`);
    }
  }

  #expiryIn({ expiry_time: expiry }: JsonObject): number | null | undefined {
    if (expiry === undefined || expiry === null) return expiry;
    if (!isWholeNumber(expiry)) throw invalidParam("expiry_time must be an integer or null");
    if (expiry < this.#clock.now()) throw invalidParam("expiry_time must not be in the past");
    return expiry;
  }
}

function isUsable({ usesAllowed, pending, completed, expiresTs }: RegistrationToken, now: number): boolean {
  return (usesAllowed === null || usesAllowed > pending + completed) && (expiresTs === null || expiresTs > now);
}

function nameIn({ token }: JsonObject): string {
  if (typeof token !== "string") throw invalidParam("token must be a string");
  if (token === "" || token.length > MAX_LENGTH) {
    throw invalidParam(`token must not be empty and must not be longer than ${MAX_LENGTH} characters`);
  }
  if (!GRAMMAR.test(token)) throw invalidParam("token must consist only of characters matched by [A-Za-z0-9._~-]");
  return token;
}

function lengthIn({ length = DEFAULT_LENGTH }: JsonObject): number {
  if (!isWholeNumber(length)) throw invalidParam("length must be an integer");
  if (length < 1 || length > MAX_LENGTH) {
    throw invalidParam(`length must be greater than zero and not greater than ${MAX_LENGTH}`);
  }
  return length;
}

function usesIn({ uses_allowed: uses }: JsonObject): number | null | undefined {
  if (uses === undefined || uses === null) return uses;
  if (!isWholeNumber(uses) || uses < 0) throw invalidParam("uses_allowed must be a non-negative integer or null");
  return uses;
}

function isWholeNumber(value: JsonValue): value is number {
  return typeof value === "number" && Number.isSafeInteger(value);
}
