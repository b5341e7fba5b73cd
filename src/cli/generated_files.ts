/** The texts of the files that `generate-config` writes. */
import { randomString } from "../lib/random.ts";

/** Characters of generated secrets, as in Synapse. YAML needs them quoted; none has a meaning within double quotes. */
const SECRET_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:^&*-_+=#~@";
const SECRET_LENGTH = 50;

/** What a configuration is made of. */
export interface NewConfig {
  readonly serverName: string;
  readonly configDirectory: string;
  readonly dataDirectory: string;
  readonly reportStats: boolean;
  readonly openPrivatePorts: boolean;
  readonly enableMetrics: boolean;
  readonly enableRegistration: boolean;
  readonly secretsInFiles: boolean;
}

/** Returns a new secret. */
export function makeSecret(): string {
  return randomString(SECRET_LENGTH, SECRET_ALPHABET);
}

/** Returns the HTTP port for a server name: 8008, or 400 below the port the name has. */
export function httpPort(serverName: string): number {
  const port = /:(\d+)$/.exec(serverName.replace(/^\[[^\]]*\]/, ""))?.[1];
  return port === undefined ? 8008 : Math.max(1, Number(port) - 400);
}

/** Returns the text of `homeserver.yaml`. */
export function configText(config: NewConfig): string {
  const { serverName, dataDirectory, configDirectory } = config;
  return `# Configuration of synapse-ts.
#
# Options have the names they have in Synapse. Those most often wanted are in homeserver.example.yaml.
server_name: ${quote(serverName)}
pid_file: ${quote(`${dataDirectory}/homeserver.pid`)}
listeners:
${listenersText(config)}
database:
  name: sqlite3
  args:
    database: ${quote(`${dataDirectory}/homeserver.db`)}
log_config: ${quote(`${configDirectory}/${serverName}.log.config`)}
media_store_path: ${quote(`${dataDirectory}/media_store`)}
${secretText(config, "registration_shared_secret")}
report_stats: ${config.reportStats}
${secretText(config, "macaroon_secret_key")}
${secretText(config, "form_secret")}
signing_key_path: ${quote(`${configDirectory}/${serverName}.signing.key`)}
trusted_key_servers:
  - server_name: "matrix.org"
${switchesText(config)}
# vim:ft=yaml
`;
}

function listenersText({ serverName, openPrivatePorts, enableMetrics }: NewConfig): string {
  const addresses = openPrivatePorts ? "" : "    bind_addresses: ['::1', '127.0.0.1']\n";
  const metrics = enableMetrics ? `\n  - port: 19090\n    type: metrics\n${addresses}`.trimEnd() : "";
  return `  - port: ${httpPort(serverName)}
    tls: false
    type: http
    x_forwarded: true
${addresses}    resources:
      - names: [client, federation]
        compress: false${metrics}`;
}

function switchesText({ enableMetrics, enableRegistration }: NewConfig): string {
  const metrics = enableMetrics ? ["enable_metrics: true"] : [];
  const registration = enableRegistration
    ? ["enable_registration: true", "enable_registration_without_verification: true"]
    : [];
  return [...metrics, ...registration].map((line) => `${line}\n`).join("");
}

function secretText({ secretsInFiles, configDirectory, serverName }: NewConfig, name: string): string {
  if (!secretsInFiles) return `${name}: ${quote(makeSecret())}`;
  return `${name}_path: ${quote(secretPath({ configDirectory, serverName }, name))}`;
}

/** Returns where a secret goes that is not to be in the configuration. */
export function secretPath(
  { configDirectory, serverName }: { configDirectory: string; serverName: string },
  name: string,
): string {
  return `${configDirectory}/${serverName}.${name}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** Returns the text of the log configuration, in the form Synapse's has. */
export function logConfigText(logFile: string): string {
  return `# What is logged, and where, in the form of Python's logging configuration that Synapse uses.
version: 1

formatters:
    precise:
        format: '%(asctime)s - %(name)s - %(levelname)s - %(request)s - %(message)s'
    # One JSON object a line, in place of "precise":
    json:
        class: synapse.logging.TerseJsonFormatter

handlers:
    # A file that is put aside at midnight; the last three remain.
    file:
        class: logging.handlers.TimedRotatingFileHandler
        formatter: precise
        filename: ${quote(logFile)}
        when: midnight
        backupCount: 3
        encoding: utf8

    console:
        class: logging.StreamHandler
        formatter: precise

loggers:
    # A part of the server can have a level of its own.
    synapse.storage:
        level: INFO

root:
    level: INFO
    # "console" writes to standard error instead, for systemd or containers.
    handlers: [file]

disable_existing_loggers: false
`;
}
