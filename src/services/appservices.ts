/**
 * The application services that the server was started with, and what belongs to them.
 * Spec: application service API, "Registration" and "Identity assertion".
 */
import type { AppserviceRegistration, Namespace } from "../config/appservices.ts";
import { hashSecret } from "../lib/digest.ts";
import { forbidden, MatrixError } from "../protocol/errors.ts";
import {
  type DeviceId,
  makeUserId,
  parseDeviceId,
  parseUserId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database } from "../storage/database.ts";
import { selectDevice } from "../storage/devices.ts";
import { selectUser } from "../storage/users.ts";
import type { Session, Tokens } from "./tokens.ts";

/** An application service with its own user. */
export interface Appservice extends AppserviceRegistration {
  readonly sender: UserId;
}

/** What the service is built from. */
export interface AppservicesDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly registrations: readonly AppserviceRegistration[];
  readonly tokens: Tokens;
}

/** As whom a service acts, by its request. */
export interface Masquerade {
  /** Null for the service's own user. */
  readonly userId: string | null;
  readonly deviceId: string | null;
}

/** Knows the application services. */
export class Appservices {
  readonly #deps: AppservicesDeps;
  #all: readonly Appservice[] = [];
  /** By the hash of the token, so that the time a lookup takes tells nothing of one. */
  #byToken: ReadonlyMap<string, Appservice> = new Map();

  constructor(deps: AppservicesDeps) {
    this.#deps = deps;
    this.#setRegistrations(deps.registrations);
  }

  /** All of them. */
  get all(): readonly Appservice[] {
    return this.#all;
  }

  /** Takes these in place of the present ones. */
  replace(registrations: readonly AppserviceRegistration[]): void {
    this.#setRegistrations(registrations);
    this.#deps.tokens.forgetServices();
  }

  /** Returns the service that has a token, or null. */
  byToken(token: string): Appservice | null {
    return this.#byToken.size === 0 ? null : this.#byToken.get(hashSecret(token)) ?? null;
  }

  /** Returns a service by its id, or null. */
  byId(id: string): Appservice | null {
    return this.all.find((service) => service.id === id) ?? null;
  }

  /** Tells whether a local user is the service's, by its namespaces. */
  ownsUser(service: Appservice, userId: UserId): boolean {
    if (userId === service.sender) return true;
    return serverNameOf(userId) === this.#deps.serverName && fits(service.users, userId);
  }

  /** Tells whether a service has asked for the events of a room by its id. */
  wantsRoom(service: Appservice, roomId: RoomId): boolean {
    return fits(service.rooms, roomId);
  }

  /** Tells whether an alias is in a service's namespaces. */
  wantsAlias(service: Appservice, alias: RoomAlias): boolean {
    return fits(service.aliases, alias);
  }

  /** Tells whether a user id is set aside for services: only they make it. */
  isExclusiveUser(userId: UserId): boolean {
    return this.all.some((service) => userId === service.sender || fitsExclusive(service.users, userId));
  }

  /** Throws `M_EXCLUSIVE` unless the requester may make or remove an alias. */
  assertMayUseAlias(requester: Requester, alias: RoomAlias): void {
    if (this.all.length === 0) return;
    if (requester.appserviceId !== null) {
      const service = this.byId(requester.appserviceId);
      if (service !== null && fits(service.aliases, alias)) return;
      throw exclusive("The alias is not in the namespaces of the application service");
    }
    if (this.all.some((service) => fitsExclusive(service.aliases, alias))) {
      throw exclusive("The alias is reserved by an application service");
    }
  }

  /** Returns the session with which a service acts; throws 403 for users that are not its own. */
  async session(service: Appservice, { userId: wanted, deviceId }: Masquerade): Promise<Session> {
    const userId = wanted === null ? service.sender : parseUserId(wanted);
    if (userId === null || !this.ownsUser(service, userId)) {
      throw forbidden("The application service cannot masquerade as this user");
    }
    const session = await this.#deps.tokens.resolveService(
      `${service.id}\n${userId}`,
      () => this.#load(service, userId),
    );
    if (deviceId === null) return session;
    const requester = { ...session.requester, deviceId: await this.#requireDevice(userId, deviceId) };
    return { ...session, requester };
  }

  #setRegistrations(registrations: readonly AppserviceRegistration[]): void {
    const { serverName } = this.#deps;
    this.#all = registrations.map((registration) => ({ ...registration, sender: senderOf(registration, serverName) }));
    this.#byToken = new Map(this.#all.map((service) => [hashSecret(service.asToken), service]));
  }

  async #load(service: Appservice, userId: UserId): Promise<Session> {
    const user = await selectUser(this.#deps.db, userId);
    if (user === null && userId !== service.sender) {
      throw forbidden("The application service has not registered this user");
    }
    if (user?.isDeactivated === true) throw forbidden("The user is deactivated");
    return {
      requester: {
        userId,
        deviceId: null,
        isGuest: false,
        isAdmin: user?.isAdmin ?? false,
        isShadowBanned: user?.isShadowBanned ?? false,
        appserviceId: service.id,
        isUnlimited: !service.isRateLimited,
      },
      tokenHash: `appservice ${service.id}`,
      expiresTs: null,
      isLocked: user?.isLocked ?? false,
      isSuspended: user?.isSuspended ?? false,
    };
  }

  async #requireDevice(userId: UserId, text: string): Promise<DeviceId> {
    const deviceId = parseDeviceId(text);
    const device = deviceId === null ? null : await selectDevice(this.#deps.db, { userId, deviceId });
    if (device === null) throw new MatrixError(400, "M_UNKNOWN_DEVICE", "The user has no such device");
    return device.deviceId;
  }
}

/** Returns what a service gets for names outside its namespaces, and others for names inside them. */
export function exclusive(message: string): MatrixError {
  return new MatrixError(400, "M_EXCLUSIVE", message);
}

function senderOf({ id, senderLocalpart }: AppserviceRegistration, serverName: ServerName): UserId {
  const userId = makeUserId(senderLocalpart, serverName);
  if (userId === null) throw new Error(`The sender_localpart of the application service "${id}" is not a localpart`);
  return userId;
}

function fits(namespaces: readonly Namespace[], text: string): boolean {
  return namespaces.some(({ regex }) => regex.test(text));
}

function fitsExclusive(namespaces: readonly Namespace[], text: string): boolean {
  return namespaces.some(({ regex, isExclusive }) => isExclusive && regex.test(text));
}
