/**
 * User-interactive authentication. Spec: client-server API, "User-Interactive Authentication API".
 *
 * `require` is called with every attempt of a request. It throws `UiaRequired` (a 401 that lists the flows) until one
 * flow is complete, then runs the work. A session is bound to the action and the user it was opened for, and to the
 * body of its request, so that what the user agreed to is what happens. Completed sessions stay valid for repeats of the
 * same request: a client that lost the answer gets it again.
 *
 * To add a stage, write a `StageCheck` and hand it to the constructor.
 */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import { badJson, type Errcode, forbidden, invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { selectValidatedTs, updateValidatedTs } from "../storage/access_tokens.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteOldUiaSessions,
  selectUiaSession,
  type UiaSessionRow,
  updateUiaOutcome,
  upsertUiaSession,
} from "../storage/uia.ts";
import type { Session } from "./tokens.ts";

/** A stage by its type, for example `m.login.password`. */
export type Stage = string;

/** What a stage found: what was proven, or why not. */
export type Verdict =
  | { readonly passed: true; readonly proof: JsonValue }
  | { readonly passed: false; readonly errcode: Errcode; readonly error: string };

/** Who is going through a stage. */
export interface StageContext {
  /** What is asked for. */
  readonly action: string;
  /** The account that must prove itself; null where there is none yet. */
  readonly userId: UserId | null;
  readonly clientIp: string;
}

/** One way to prove something. */
export interface StageCheck {
  /** What a client needs for the stage, under `params` of the challenge. */
  readonly params?: JsonObject;
  /** Judges the client's `auth` object. */
  verify(auth: JsonObject, context: StageContext): Promise<Verdict>;
  /** Runs in the transaction that records the stage; false when the proof no longer holds. */
  commit?(tx: Tx, proof: JsonValue): Promise<boolean>;
  /** Undoes `commit` when the session expires without its request having been carried out. */
  release?(tx: Tx, proof: JsonValue): Promise<void>;
}

/** A request that needs authentication beyond its access token. */
export interface UiaRequest {
  /** Names what is asked for, the object included, for example `DELETE /devices/ABC`. */
  readonly action: string;
  readonly flows: readonly (readonly Stage[])[];
  /** The request's session; null for requests without an access token. */
  readonly session: Session | null;
  /** The whole body, `auth` included. */
  readonly body: JsonObject;
  readonly clientIp: string;
  /** Keys of the body that are never stored, such as a new password; they are not bound to the session. */
  readonly secretKeys?: readonly string[];
  /** Lets the body change from one attempt to the next; the last one counts. */
  readonly allowChanges?: boolean;
  /** Lets a recent authentication with the same access token do, by `ui_auth.session_timeout`. */
  readonly allowRecent?: boolean;
}

/** What is known when a flow is complete. */
export interface UiaOutcome {
  /** The body without `auth`. */
  readonly body: JsonObject;
  /** What each stage proved. */
  readonly proofs: Readonly<Record<Stage, JsonValue>>;
  /** What an earlier attempt in this session came to, as it was remembered. */
  readonly previous: JsonObject | null;
  /** Keeps what this attempt came to, without secrets, inside the transaction of the work. */
  remember(tx: Tx, outcome: JsonObject): Promise<void>;
}

/** What the service is built from. */
export interface UiaDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly stages: Readonly<Record<Stage, StageCheck>>;
  /** `ui_auth.session_timeout` in milliseconds. */
  readonly recentMs: number;
  /** The ways in which a user of this server can prove who they are. */
  readonly ownFlows: (userId: UserId) => Promise<readonly (readonly Stage[])[]>;
}

const SESSION_LIFETIME_MS = 48 * 3_600_000;
const SESSION_ID_LENGTH = 24;

/** 401 that tells the client what to prove. Spec: "User-interactive API in the REST API". */
export class UiaRequired extends MatrixError {
  readonly #body: JsonObject;

  constructor(body: JsonObject) {
    super(401, "M_UNAUTHORIZED", "Additional authentication is required");
    this.#body = body;
  }

  override toJSON(): JsonObject {
    return this.#body;
  }
}

interface OpenSession {
  readonly row: UiaSessionRow;
  /** As this attempt has it, secrets included. */
  readonly body: JsonObject;
  readonly proofs: Record<Stage, JsonValue>;
}

/** Makes sure that requests are authenticated by one of their flows. */
export class Uia {
  readonly #deps: UiaDeps;

  constructor(deps: UiaDeps) {
    this.#deps = deps;
  }

  /** Returns the flows by which a user proves that a request in their name is theirs. */
  async ownFlows(userId: UserId): Promise<readonly (readonly Stage[])[]> {
    return await this.#deps.ownFlows(userId);
  }

  /** Runs `work` once a flow of the request is complete; until then throws `UiaRequired`. */
  async require<T>(request: UiaRequest, work: (outcome: UiaOutcome) => Promise<T>): Promise<T> {
    const { auth, ...body } = request.body;
    if (auth !== undefined && !isJsonObject(auth)) throw badJson('Invalid value for "auth"');
    if (auth === undefined && await this.#isRecent(request)) {
      return await work({ body, proofs: {}, previous: null, remember: () => Promise.resolve() });
    }
    const open = await this.#open(request, { auth: auth ?? {}, body });
    const type = auth?.type;
    if (type !== undefined) await this.#attempt(request, { open, auth: auth ?? {}, type });
    if (!isComplete(request.flows, open.proofs)) throw await this.#challenge(open, { request });
    await this.#noteProven(request.session, open);
    return await work({
      body: open.body,
      proofs: open.proofs,
      previous: open.row.outcome === null ? null : JSON.parse(open.row.outcome),
      remember: (tx, outcome) =>
        updateUiaOutcome(tx, { sessionId: open.row.sessionId, outcome: JSON.stringify(outcome) }),
    });
  }

  /**
   * Goes through a stage on a page of the server instead of in the client, which then goes on with the session alone.
   * Spec: "Fallback". Throws 404 for a session or a stage that does not exist.
   */
  async attemptOnPage(
    { sessionId, stage, auth, clientIp }: { sessionId: string; stage: Stage; auth: JsonObject; clientIp: string },
  ): Promise<Verdict> {
    const { db, clock, stages } = this.#deps;
    const now = clock.now();
    const row = await selectUiaSession(db, { sessionId: sessionId.slice(0, 255), after: now - SESSION_LIFETIME_MS });
    const check = Object.hasOwn(stages, stage) ? stages[stage] : undefined;
    if (row === null || check === undefined) throw notFound("This page belongs to no authentication under way");
    const proofs: Record<Stage, JsonValue> = JSON.parse(row.completed);
    const held = proofs[stage];
    if (held !== undefined) return { passed: true, proof: held };
    const verdict = await check.verify(auth, { action: row.action, userId: row.userId, clientIp });
    if (!verdict.passed) return verdict;
    return await db.transaction(async (tx): Promise<Verdict> => {
      if (check.commit !== undefined && !await check.commit(tx, verdict.proof)) {
        return { passed: false, errcode: "M_UNAUTHORIZED", error: "Authentication failed" };
      }
      const body = JSON.parse(row.request);
      await this.#write(tx, { row: { ...row, lastUsedTs: now }, body, proofs: { ...proofs, [stage]: verdict.proof } });
      return verdict;
    });
  }

  /**
   * Notes that a stage was gone through by `userId` elsewhere. Returns null where that is who must do it, else who must.
   * Throws 404 for a session that does not exist.
   */
  async settleOnPage(
    { sessionId, stage, userId }: { sessionId: string; stage: Stage; userId: UserId | null },
  ): Promise<UserId | null> {
    const now = this.#deps.clock.now();
    return await this.#deps.db.transaction(async (tx) => {
      const row = await selectUiaSession(tx, { sessionId, after: now - SESSION_LIFETIME_MS });
      if (row === null || row.userId === null) throw notFound("This page belongs to no authentication under way");
      if (row.userId !== userId) return row.userId;
      const proofs: Record<Stage, JsonValue> = { ...JSON.parse(row.completed), [stage]: userId };
      await this.#write(tx, { row: { ...row, lastUsedTs: now }, body: JSON.parse(row.request), proofs });
      return null;
    });
  }

  /** Returns what a session was opened for, and whose account it is about. Throws 404 for one that does not exist. */
  async sessionOf(sessionId: string): Promise<{ action: string; userId: UserId | null }> {
    const after = this.#deps.clock.now() - SESSION_LIFETIME_MS;
    const row = await selectUiaSession(this.#deps.db, { sessionId: sessionId.slice(0, 255), after });
    if (row === null) throw notFound("This page belongs to no authentication under way");
    return { action: row.action, userId: row.userId };
  }

  /** Returns what a session was opened for. Throws 404 for one that does not exist. */
  async actionOf(sessionId: string): Promise<string> {
    return (await this.sessionOf(sessionId)).action;
  }

  /** Removes expired sessions, and gives back what their stages held. Called by a timer. */
  async expireSessions(): Promise<void> {
    const before = this.#deps.clock.now() - SESSION_LIFETIME_MS;
    await this.#deps.db.transaction(async (tx) => {
      for (const { completed, outcome } of await deleteOldUiaSessions(tx, before)) {
        if (outcome !== null) continue;
        for (const [stage, proof] of Object.entries(JSON.parse(completed) as JsonObject)) {
          await this.#deps.stages[stage]?.release?.(tx, proof);
        }
      }
    });
  }

  async #isRecent({ allowRecent = false, session }: UiaRequest): Promise<boolean> {
    if (!allowRecent || session === null || this.#deps.recentMs <= 0) return false;
    const validatedTs = await selectValidatedTs(this.#deps.db, session.tokenHash);
    return validatedTs !== null && validatedTs + this.#deps.recentMs > this.#deps.clock.now();
  }

  async #open(request: UiaRequest, { auth, body }: { auth: JsonObject; body: JsonObject }): Promise<OpenSession> {
    const now = this.#deps.clock.now();
    const userId = request.session?.requester.userId ?? null;
    if (auth.session === undefined || auth.session === null) {
      const row: UiaSessionRow = {
        sessionId: randomString(SESSION_ID_LENGTH),
        action: request.action,
        userId,
        request: storedText(request, body),
        completed: "{}",
        outcome: null,
        lastUsedTs: now,
      };
      return { row, body, proofs: {} };
    }
    if (typeof auth.session !== "string") throw badJson('Invalid value for "auth.session"');
    const after = now - SESSION_LIFETIME_MS;
    const found = await selectUiaSession(this.#deps.db, { sessionId: auth.session.slice(0, 255), after });
    if (found === null) throw invalidParam("Unknown authentication session");
    if (found.action !== request.action || found.userId !== userId) {
      throw forbidden("The requested operation has changed during the authentication session");
    }
    const row = { ...found, lastUsedTs: now };
    const proofs: Record<Stage, JsonValue> = JSON.parse(found.completed);
    // A client repeats the body or, as older ones do, sends nothing but `auth` after the first time.
    if (Object.keys(body).length === 0) return { row, body: JSON.parse(found.request), proofs };
    const text = storedText(request, body);
    if (text !== found.request && request.allowChanges !== true) {
      throw forbidden("The requested operation has changed during the authentication session");
    }
    return { row: { ...row, request: text }, body, proofs };
  }

  async #attempt(
    request: UiaRequest,
    { open, auth, type }: { open: OpenSession; auth: JsonObject; type: JsonValue },
  ): Promise<void> {
    if (typeof type !== "string") throw badJson('Invalid value for "auth.type"');
    if (Object.hasOwn(open.proofs, type)) return;
    const check = this.#deps.stages[type];
    if (check === undefined || !request.flows.some((flow) => flow.includes(type))) {
      const failure = { errcode: "M_UNRECOGNIZED", error: "Unsupported authentication stage" } as const;
      throw await this.#challenge(open, { request, failure });
    }
    const verdict = await check.verify(auth, {
      action: request.action,
      userId: request.session?.requester.userId ?? null,
      clientIp: request.clientIp,
    });
    if (!verdict.passed) throw await this.#challenge(open, { request, failure: verdict });
    const held = await this.#deps.db.transaction(async (tx) => {
      if (check.commit !== undefined && !await check.commit(tx, verdict.proof)) return false;
      await this.#write(tx, { ...open, proofs: { ...open.proofs, [type]: verdict.proof } });
      return true;
    });
    const failure = { errcode: "M_UNAUTHORIZED", error: "Authentication failed" } as const;
    if (!held) throw await this.#challenge(open, { request, failure });
    open.proofs[type] = verdict.proof;
  }

  async #challenge(
    open: OpenSession,
    { request, failure }: { request: UiaRequest; failure?: { readonly errcode: Errcode; readonly error: string } },
  ): Promise<UiaRequired> {
    await this.#deps.db.transaction((tx) => this.#write(tx, open));
    const completed = Object.keys(open.proofs);
    return new UiaRequired({
      session: open.row.sessionId,
      flows: request.flows.map((stages) => ({ stages: [...stages] })),
      params: this.#paramsOf(request.flows),
      // As in the specification's example, also an empty list where an attempt failed.
      ...(completed.length > 0 || failure !== undefined ? { completed } : {}),
      ...(failure === undefined ? {} : { errcode: failure.errcode, error: failure.error }),
    });
  }

  #paramsOf(flows: UiaRequest["flows"]): JsonObject {
    const params: JsonObject = {};
    for (const stage of flows.flat()) {
      const known = this.#deps.stages[stage]?.params;
      if (known !== undefined) params[stage] = known;
    }
    return params;
  }

  async #noteProven(session: Session | null, { row }: OpenSession): Promise<void> {
    if (session === null) return;
    await this.#deps.db.transaction((tx) =>
      updateValidatedTs(tx, { tokenHash: session.tokenHash, validatedTs: row.lastUsedTs })
    );
  }

  async #write(tx: Tx, { row, proofs }: OpenSession): Promise<void> {
    await upsertUiaSession(tx, { ...row, completed: JSON.stringify(proofs) });
  }
}

/** The text of a request as it is kept: canonical, without its secrets. */
function storedText({ secretKeys = [] }: UiaRequest, body: JsonObject): string {
  const kept = Object.fromEntries(Object.entries(body).filter(([key]) => !secretKeys.includes(key)));
  try {
    return canonicalJson(kept);
  } catch {
    // Bodies that have no canonical form (fractions) are compared as they came.
    return JSON.stringify(kept);
  }
}

function isComplete(flows: readonly (readonly Stage[])[], proofs: Readonly<Record<Stage, JsonValue>>): boolean {
  return flows.some((flow) => flow.every((stage) => Object.hasOwn(proofs, stage)));
}
