/** What everything else is built on: the database, the signing key, the streams. */
import { type AppserviceRegistration, loadAppservices } from "../config/appservices.ts";
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { serverNameOf, type UserId } from "../protocol/ids.ts";
import { parseSigningKeys, type Signer, type SigningKey } from "../protocol/signatures.ts";
import type { Database } from "../storage/database.ts";
import { withUsage } from "../storage/database_usage.ts";
import { databaseOptions } from "../storage/database_options.ts";
import { type DatabaseOptions, openDatabase } from "../storage/open_database.ts";
import { selectStreamPositions } from "../storage/streams.ts";
import { Notifier } from "../streams/notifier.ts";
import type { Mas } from "../services/mas.ts";
import { type MailParts, openMail } from "./mail.ts";
import { openMas } from "./mas.ts";
import { type Meters, openMeters } from "./metrics.ts";
import { openSsoProviders, type SsoProviders } from "./sso_providers.ts";

/** The parts that all others share. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  readonly db: Database;
  readonly notifier: Notifier;
  readonly signer: Signer;
  readonly meters: Meters;
  readonly mail: MailParts;
  readonly sso: SsoProviders;
  /** Null where this server has the accounts itself. */
  readonly mas: Mas | null;
  /** What the files of `app_service_config_files` say. */
  readonly appserviceRegistrations: readonly AppserviceRegistration[];
  readonly isLocal: (userId: UserId) => boolean;
  /** Resolves when another process has taken the database: this one cannot go on. */
  readonly takenOver: Promise<void>;
}

/** A server that is told to stop ends within this time. */
const FORMER_SELF_MS = 10_000;

/** Opens the database and loads the key. `database` takes the place of what the configuration names. */
export async function openCore(
  { config, clock, database }: { config: Config; clock: Clock; database?: Database },
): Promise<Core> {
  const signer = { serverName: config.serverName, key: await loadSigningKey(config) };
  const appserviceRegistrations = await loadAppservices(config.api.appServiceConfigFiles);
  const { serverName } = config;
  const mail = await openMail(config);
  const sso = await openSsoProviders({ config, clock, key: signer.key });
  const mas = openMas(config, clock);
  const meters = await openMeters(config, clock);
  const takenOver = Promise.withResolvers<void>();
  const options = patient(databaseOptions(config.database), takenOver.resolve);
  const opened = database ?? await openDatabase(options, { serverName });
  const db = withUsage(meters.hooks?.timed(opened) ?? opened, clock);
  const notifier = new Notifier(await startPositions(db, clock));
  const isLocal = (userId: UserId) => serverNameOf(userId) === serverName;
  const shared = { config, clock, db, notifier, signer, meters, mail, sso, mas, appserviceRegistrations, isLocal };
  return { ...shared, takenOver: takenOver.promise };
}

/** Where a service manager starts the server anew, its former self may not have ended yet. */
function patient(options: DatabaseOptions, onTakenOver: () => void): DatabaseOptions {
  if ("sqlite" in options) return { sqlite: { ...options.sqlite, waitMs: FORMER_SELF_MS } };
  return { postgres: { ...options.postgres, claim: { waitMs: FORMER_SELF_MS, onTakenOver } } };
}

async function loadSigningKey(config: Config): Promise<SigningKey> {
  const inline = config.signingKeys.signingKey;
  const path = config.signingKeyPath;
  const text = inline ?? await readKeyFile(path);
  const [key] = parseSigningKeys(text) ?? [];
  if (!key) {
    throw new StartupError(`The signing key in ${inline === null ? path : '"signing_key"'} is not a signing key`);
  }
  return key;
}

async function readKeyFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read the signing key ${path}: ${reasonOf(error)}`);
  }
}

async function startPositions(db: Database, clock: Clock): Promise<ConstructorParameters<typeof Notifier>[0]> {
  const stored = await selectStreamPositions(db);
  const at = (stream: Parameters<typeof stored.get>[0]) => stored.get(stream) ?? 0;
  return {
    events: at("events"),
    receipts: at("receipts"),
    account_data: at("account_data"),
    to_device: at("to_device"),
    device_lists: at("device_lists"),
    push_rules: at("push_rules"),
    presence: clock.now(),
    typing: clock.now(),
  };
}
