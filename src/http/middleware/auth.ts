/**
 * Who may call. Spec: client-server API, "Client authentication".
 *
 * The token comes in the `Authorization` header or, deprecated but in the spec, in the query as `access_token`.
 */
import { forbidden, MatrixError, missingToken, unknownToken } from "../../protocol/errors.ts";
import type { Appservice, Appservices, Masquerade } from "../../services/appservices.ts";
import { parseRoomId } from "../../protocol/ids.ts";
import type { LastSeen } from "../../services/last_seen.ts";
import type { Session, Tokens } from "../../services/tokens.ts";
import type { UsageLimits } from "../../services/usage_limits.ts";
import type { Ctx, Guard } from "../app.ts";
import { searchParams } from "./params.ts";

/** What the guards are built from. */
export interface AuthDeps {
  readonly tokens: Tokens;
  readonly lastSeen: LastSeen;
  readonly appservices: Appservices;
  /** Synapse's `track_appservice_user_ips`. */
  readonly tracksAppserviceUsers?: boolean;
  readonly usage: UsageLimits;
}

/** Limits on who passes. */
export interface AuthOptions {
  /** Lets locked and expired accounts in: only to log out, or to be renewed. */
  readonly allowLocked?: boolean;
}

/** The parameter's name before it was in the specification (MSC4326). */
const UNSTABLE_DEVICE_ID = "org.matrix.msc3202.device_id";

/** Returns the request's access token, or null when it has none. */
export function tokenOf(c: Ctx): string | null {
  const header = c.req.raw.headers.get("authorization");
  if (header !== null) {
    if (header.startsWith("Bearer ")) return header.slice(7).trim();
    if (/^bearer +/i.test(header)) return header.replace(/^bearer +/i, "").trim();
    return null;
  }
  return c.req.raw.url.includes("access_token=") ? searchParams(c).get("access_token") : null;
}

/** Makes guards that say who may call an endpoint. */
export class Auth {
  readonly #tokens: Tokens;
  readonly #lastSeen: LastSeen;
  readonly #appservices: Appservices;
  readonly #tracksAppserviceUsers: boolean;
  readonly #user: Guard;
  readonly #userOrLocked: Guard;
  readonly #guestOk: Guard;

  readonly #usage: UsageLimits;

  constructor({ tokens, lastSeen, appservices, usage, tracksAppserviceUsers = false }: AuthDeps) {
    this.#usage = usage;
    this.#tokens = tokens;
    this.#lastSeen = lastSeen;
    this.#appservices = appservices;
    this.#tracksAppserviceUsers = tracksAppserviceUsers;
    this.#user = this.#guard((session) => {
      refuseLocked(session);
      refuseGuest(session);
    });
    this.#userOrLocked = this.#guard(() => {}, { allowExpired: true });
    this.#guestOk = this.#guard(refuseLocked);
  }

  /** Users with an account; guests get `M_GUEST_ACCESS_FORBIDDEN`. */
  user({ allowLocked = false }: AuthOptions = {}): Guard {
    return allowLocked ? this.#userOrLocked : this.#user;
  }

  /** Users and guests. */
  guestOk(): Guard {
    return this.#guestOk;
  }

  /** Users who are not suspended: for everything that others would see. */
  active(): Guard {
    return this.#guard((session) => {
      refuseLocked(session);
      refuseGuest(session);
      refuseSuspended(session);
    });
  }

  /** Users and guests who are not suspended. */
  activeGuestOk(): Guard {
    return this.#guard((session) => {
      refuseLocked(session);
      refuseSuspended(session);
    });
  }

  /** As `active`, for what creates events: users who may send by the terms and limits of the server. */
  sender(): Guard {
    return this.#limited(this.active());
  }

  /** As `activeGuestOk`, for what creates events. */
  senderGuestOk(): Guard {
    return this.#limited(this.activeGuestOk());
  }

  /** Who may sync: users, and guests where `guests` says so. */
  syncer({ guests }: { guests: boolean }): Guard {
    const inner = guests ? this.#guestOk : this.#user;
    const usage = this.#usage;
    return async (c) => {
      await inner(c);
      if (c.env.session !== null) await usage.assertMaySync(c.env.session.requester);
    };
  }

  #limited(inner: Guard): Guard {
    const usage = this.#usage;
    return async (c) => {
      await inner(c);
      const roomId = parseRoomId(c.req.param("roomId") ?? c.req.param("roomIdOrAlias") ?? "");
      if (c.env.session !== null) await usage.assertMaySend(c.env.session.requester, roomId);
    };
  }

  /** Anyone; a token is looked up when there is one, and must then be good. */
  optional(): Guard {
    return (c) => tokenOf(c) === null ? undefined : this.#guestOk(c);
  }

  /** Server administrators. */
  admin(): Guard {
    return this.#guard((session) => {
      refuseLocked(session);
      if (!session.requester.isAdmin) throw forbidden("You are not a server admin");
    });
  }

  /** Application services themselves, whoever they act as. Throws `M_MISSING_TOKEN` and `M_UNKNOWN_TOKEN`. */
  appserviceOf(c: Ctx): Appservice {
    const token = tokenOf(c);
    if (token === null || token === "") throw missingToken();
    const service = this.#appservices.byToken(token);
    if (service === null) throw unknownToken({ softLogout: false });
    return service;
  }

  #guard(check: (session: Session) => void, { allowExpired = false }: { allowExpired?: boolean } = {}): Guard {
    return (c) => {
      const token = tokenOf(c);
      if (token === null || token === "") throw missingToken();
      const service = this.#appservices.byToken(token);
      const found = service === null ? this.#tokens.resolve(token) : this.#appservices.session(service, masquerade(c));
      const admit = (session: Session) => {
        this.#admit(c, { session, check });
        return allowExpired ? undefined : this.#usage.assertValid(session.requester);
      };
      return found instanceof Promise ? found.then(admit) : admit(found);
    };
  }

  #admit(c: Ctx, { session, check }: { session: Session; check: (session: Session) => void }): void {
    // Set first, so that the access log names the user of a refused request too.
    c.env.session = session;
    check(session);
    if (session.requester.appserviceId !== null && !this.#tracksAppserviceUsers) return;
    const ip = c.env.clientIp;
    if (this.#lastSeen.isDue(session, ip)) {
      this.#lastSeen.note(session, { ip, userAgent: c.req.raw.headers.get("user-agent") ?? "" });
    }
  }
}

/** Returns as whom a service wants to act. Spec: application service API, "Identity assertion". */
function masquerade(c: Ctx): Masquerade {
  if (!c.req.raw.url.includes("?")) return { userId: null, deviceId: null };
  const params = searchParams(c);
  return { userId: params.get("user_id"), deviceId: params.get("device_id") ?? params.get(UNSTABLE_DEVICE_ID) };
}

function refuseLocked(session: Session): void {
  if (!session.isLocked) return;
  throw new MatrixError(401, "M_USER_LOCKED", "User account has been locked", { soft_logout: true });
}

function refuseGuest(session: Session): void {
  if (!session.requester.isGuest) return;
  throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed");
}

function refuseSuspended(session: Session): void {
  if (!session.isSuspended) return;
  throw new MatrixError(403, "M_USER_SUSPENDED", "Sending is not allowed while the account is suspended");
}
