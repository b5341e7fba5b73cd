/**
 * The table of all options, by the sections of Synapse's manual. It is the only source: reading, warnings and the manual
 * (`docs/configuration.md`) come from it. To add an option, add it to the table of its section's file.
 */
import { ACME_OPTIONS } from "./acme.ts";
import { API_OPTIONS, SIGNING_KEY_OPTIONS } from "./api.ts";
import { BLOCKING_OPTIONS } from "./blocking.ts";
import { CACHING_OPTIONS, DATABASE_OPTIONS, LOGGING_OPTIONS } from "./database.ts";
import { EMAIL_OPTIONS } from "./email.ts";
import { EXPERIMENTAL_OPTIONS } from "./experimental.ts";
import { FEDERATION_OPTIONS, TLS_OPTIONS } from "./federation.ts";
import { LEGACY_OPTIONS } from "./legacy.ts";
import { LISTENER_OPTIONS } from "./listeners.ts";
import { MEDIA_OPTIONS } from "./media.ts";
import { METRICS_OPTIONS } from "./metrics.ts";
import { RATELIMIT_OPTIONS } from "./ratelimits.ts";
import { CAPTCHA_OPTIONS, REGISTRATION_EXTRAS, REGISTRATION_OPTIONS } from "./registration.ts";
import { PUSH_OPTIONS, ROOM_OPTIONS } from "./rooms.ts";
import type { Effect, Option, Options } from "./schema.ts";
import { SERVER_OPTIONS } from "./server.ts";
import { SESSION_OPTIONS } from "./sessions.ts";
import { PASSWORD_OPTIONS, SSO_OPTIONS } from "./sso.ts";
import { TURN_OPTIONS } from "./turn.ts";
import { WORKER_OPTIONS } from "./workers.ts";

/** The tables by section, in the order of the manual. */
export const SECTIONS = {
  server: SERVER_OPTIONS,
  listeners: LISTENER_OPTIONS,
  email: EMAIL_OPTIONS,
  blocking: BLOCKING_OPTIONS,
  tls: { ...TLS_OPTIONS, ...ACME_OPTIONS },
  federation: FEDERATION_OPTIONS,
  caching: CACHING_OPTIONS,
  database: DATABASE_OPTIONS,
  logging: LOGGING_OPTIONS,
  ratelimits: RATELIMIT_OPTIONS,
  media: MEDIA_OPTIONS,
  captcha: CAPTCHA_OPTIONS,
  turn: TURN_OPTIONS,
  registration: { ...REGISTRATION_OPTIONS, ...REGISTRATION_EXTRAS },
  sessions: SESSION_OPTIONS,
  metrics: METRICS_OPTIONS,
  api: API_OPTIONS,
  signingKeys: SIGNING_KEY_OPTIONS,
  sso: SSO_OPTIONS,
  passwords: PASSWORD_OPTIONS,
  push: PUSH_OPTIONS,
  rooms: ROOM_OPTIONS,
  workers: WORKER_OPTIONS,
  experimental: EXPERIMENTAL_OPTIONS,
  legacy: LEGACY_OPTIONS,
} as const satisfies Readonly<Record<string, Options>>;

/** One option as the manual lists it. */
export interface ListedOption {
  readonly section: string;
  readonly name: string;
  readonly kind: string;
  readonly expects: string;
  /** In YAML form; `undefined` where the option must be given. */
  readonly fallback: unknown;
  readonly isSecret: boolean;
  readonly doc: string;
  readonly effect: Effect;
  /** The version that first knew it. */
  readonly since: string;
  /** Names of the options inside, relative to this one. */
  readonly inner: readonly string[];
  /** The options inside, those of lists and maps too. */
  readonly parts: readonly ListedPart[];
}

/** An option within another. */
export interface ListedPart {
  readonly name: string;
  readonly kind: string;
  readonly expects: string;
  readonly fallback: unknown;
  readonly isSecret: boolean;
}

/** Returns all top-level options, in the order of the manual. */
export function listOptions(): readonly ListedOption[] {
  return Object.entries(SECTIONS).flatMap(([section, options]: [string, Options]) =>
    Object.entries(options).map(([name, option]) => toListed(option, { section, name }))
  );
}

/** Returns every top-level name. */
export function listOptionNames(): readonly string[] {
  return Object.values(SECTIONS).flatMap((options: Options) => Object.keys(options));
}

function toListed(
  { schema, fallback, about }: Option<unknown>,
  { section, name }: { section: string; name: string },
): ListedOption {
  const { kind, expects, secret = false } = schema;
  const parts = listParts(schema.options ?? {});
  return { section, name, kind, expects, fallback, isSecret: secret, ...about, inner: parts.map((p) => p.name), parts };
}

function listParts(options: Options): readonly ListedPart[] {
  return Object.entries(options).flatMap(([name, { schema, fallback }]) => {
    const { kind, expects, secret = false } = schema;
    const inner = listParts(schema.options ?? {}).map((part) => ({ ...part, name: `${name}.${part.name}` }));
    return [{ name, kind, expects, fallback, isSecret: secret }, ...inner];
  });
}
