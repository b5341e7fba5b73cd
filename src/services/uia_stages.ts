/** The stages of user-interactive authentication. Spec: client-server API, "Authentication types". */
import type { Clock } from "../lib/clock.ts";
import { forbidden } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import {
  releaseRegistrationToken,
  reserveRegistrationToken,
  selectRegistrationToken,
} from "../storage/registration_tokens.ts";
import type { Credentials } from "./credentials.ts";
import type { Stage, StageCheck, Verdict } from "./uia.ts";

/** What the stages are built from. */
export interface StageDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly credentials: Credentials;
}

/** Returns the stages this server can check. */
export function uiaStages(deps: StageDeps): Readonly<Record<Stage, StageCheck>> {
  return {
    "m.login.dummy": { verify: () => Promise.resolve({ passed: true, proof: true }) },
    "m.login.password": passwordStage(deps),
    "m.login.registration_token": registrationTokenStage(deps),
  };
}

function fail(error: string): Verdict {
  return { passed: false, errcode: "M_FORBIDDEN", error };
}

function passwordStage({ credentials }: StageDeps): StageCheck {
  return {
    async verify(auth, { userId }) {
      if (userId === null || typeof auth.password !== "string") return fail("Invalid password");
      const named = hasIdentifier(auth) ? await credentials.identify(auth) : userId;
      if (named !== userId) throw forbidden("The authenticated user is not the one who asks");
      const user = await credentials.verify(userId, { password: auth.password, key: userId });
      return user === null ? fail("Invalid password") : { passed: true, proof: userId };
    },
  };
}

function hasIdentifier(auth: JsonObject): boolean {
  return auth.identifier !== undefined || auth.user !== undefined || auth.medium !== undefined;
}

function registrationTokenStage({ db, clock }: StageDeps): StageCheck {
  return {
    async verify(auth) {
      if (typeof auth.token !== "string") return fail("Missing registration token");
      const token = await selectRegistrationToken(db, auth.token.slice(0, 64));
      if (token === null) return { passed: false, errcode: "M_UNAUTHORIZED", error: "Invalid registration token" };
      return { passed: true, proof: token.token };
    },
    async commit(tx, proof) {
      return await reserveRegistrationToken(tx, { token: String(proof), now: clock.now() });
    },
    async release(tx, proof) {
      await releaseRegistrationToken(tx, String(proof));
    },
  };
}
