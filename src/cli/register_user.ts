/** `register-user`: registers a user of a running server by the shared secret. */
import { createHmac } from "node:crypto";
import { userInfo } from "node:os";
import { loadOptions } from "../config/load.ts";
import { LISTENER_OPTIONS, type ListenerConfig } from "../config/listeners.ts";
import { REGISTRATION_OPTIONS } from "../config/registration.ts";
import { type JsonAnswer, requestJson } from "../lib/json_request.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Terminal } from "../lib/terminal.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { readTextFile, requireFiles } from "./files.ts";
import { askNewPassword } from "./passwords.ts";

const DEFAULT_URL = "http://localhost:8008";
const OPTIONS = {
  ...LISTENER_OPTIONS,
  registration_shared_secret: REGISTRATION_OPTIONS.registration_shared_secret,
  registration_shared_secret_path: REGISTRATION_OPTIONS.registration_shared_secret_path,
};

/** The command. */
export const registerUserCommand: Command = {
  name: "register-user",
  aliases: ["register_new_matrix_user"],
  summary: "Register a user of a running server.",
  words: "[SERVER_URL]",
  flags: {
    user: { short: "u", value: "NAME", doc: "The new user's name without @ and server (asked for)." },
    "exists-ok": { doc: "Do not fail when there is such a user; it is left as it is." },
    password: { short: "p", value: "PASSWORD", doc: "The password (asked for)." },
    "password-file": { value: "FILE", doc: "File with the password, in place of --password." },
    "user-type": { short: "t", value: "TYPE", aliases: ["user_type"], doc: "Type of the account: support or bot." },
    admin: { short: "a", doc: "Make the user an administrator (asked for)." },
    "no-admin": { doc: "Do not make the user an administrator." },
    config: { short: "c", value: "FILE", aliases: ["config-path"], doc: "Configuration with the shared secret." },
    "shared-secret": { short: "k", value: "SECRET", doc: "The shared secret, in place of a configuration." },
  },
  run: registerUser,
};

interface Server {
  readonly url: string;
  readonly sharedSecret: string;
}

interface NewUser {
  readonly name: string;
  readonly password: string;
  readonly isAdmin: boolean;
  readonly userType: string | null;
  readonly mayExist: boolean;
}

async function registerUser(given: Given, { terminal, env }: CommandContext): Promise<number> {
  if (hasFlag(given, "admin") && hasFlag(given, "no-admin")) {
    throw new UsageError("--admin and --no-admin cannot be given together");
  }
  if (given.flags.password !== undefined && given.flags["password-file"] !== undefined) {
    throw new UsageError("--password and --password-file cannot be given together");
  }
  if (given.words.length > 1) throw new UsageError("give one URL at most");
  const server = await findServer(given, terminal);
  const user = await askUser(given, { terminal, defaultName: ownName(env) });
  if (user === null) return 1;
  return report(await sendRegistration(server, { user, terminal }), { user, terminal });
}

async function findServer(given: Given, terminal: Terminal): Promise<Server> {
  const secret = lastValue(given, "shared-secret");
  const paths = given.flags.config;
  if ((secret === null) === (paths === undefined)) {
    throw new UsageError("give either --config or --shared-secret");
  }
  const [url] = given.words;
  if (secret !== null) {
    if (url === undefined) terminal.err(`No server url or configuration file given. Defaulting to ${DEFAULT_URL}.\n`);
    return { url: checkUrl(url ?? DEFAULT_URL), sharedSecret: secret };
  }
  await requireFiles(paths ?? []);
  const { listeners, registrationSharedSecret } = await loadOptions(paths ?? [], OPTIONS);
  if (registrationSharedSecret === null) {
    throw new StartupError(
      `No "registration_shared_secret" or "registration_shared_secret_path" in ${paths?.join(", ")}`,
    );
  }
  if (registrationSharedSecret === "") {
    throw new StartupError("The secret given via `registration_shared_secret_path` must not be empty.");
  }
  return { url: checkUrl(url ?? urlOf(listeners, terminal)), sharedSecret: registrationSharedSecret };
}

function checkUrl(url: string): string {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new UsageError(`${JSON.stringify(url)} is not a URL`);
  return url.replace(/\/+$/, "");
}

function urlOf(listeners: readonly ListenerConfig[], terminal: Terminal): string {
  const listener = listeners.find(({ type, tls, port, resources }) =>
    type === "http" && !tls && port !== null && resources.some(({ names }) => names.includes("client"))
  );
  if (listener !== undefined) return `http://${hostOf(listener.bindAddresses)}:${listener.port}`;
  terminal.err(
    "Unable to find a suitable HTTP listener in the configuration file. " +
      `Trying ${DEFAULT_URL} as a last resort.\n`,
  );
  return DEFAULT_URL;
}

/** Returns the host by which a listener on these addresses is reached from this machine. */
function hostOf(addresses: readonly string[]): string {
  const isAny = addresses.some((address) => ["::", "0.0.0.0", "127.0.0.1", "::1", "localhost"].includes(address));
  const [first = "localhost"] = addresses;
  return isAny ? "localhost" : first.includes(":") ? `[${first}]` : first;
}

async function askUser(
  given: Given,
  { terminal, defaultName }: { terminal: Terminal; defaultName: string | null },
): Promise<NewUser | null> {
  const name = lastValue(given, "user") || await askName(terminal, defaultName);
  if (name === null || name === "") {
    terminal.out("Invalid user name\n");
    return null;
  }
  const password = await findPassword(given, terminal);
  if (password === null) return null;
  const isAdmin = hasFlag(given, "admin") || (!hasFlag(given, "no-admin") && await askAdmin(terminal));
  if (isAdmin === null) {
    terminal.err("Nobody says whether the user is an administrator: give --admin or --no-admin.\n");
    return null;
  }
  return { name, password, isAdmin, userType: lastValue(given, "user-type"), mayExist: hasFlag(given, "exists-ok") };
}

async function askName(terminal: Terminal, defaultName: string | null): Promise<string | null> {
  const shown = defaultName === null ? "" : ` [${defaultName}]`;
  const answer = await terminal.ask(`New user localpart${shown}: `);
  return answer === "" ? defaultName : answer;
}

/** Returns the name of the person at the terminal, found as Python's `getpass.getuser` finds it, or null. */
function ownName(env: CommandContext["env"]): string | null {
  for (const name of ["LOGNAME", "USER", "LNAME", "USERNAME"]) {
    const value = env(name);
    if (value !== undefined && value !== "") return value;
  }
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

async function findPassword(given: Given, terminal: Terminal): Promise<string | null> {
  const file = lastValue(given, "password-file");
  const password = file === null ? lastValue(given, "password") : (await readTextFile(file)).trim();
  return password === null || password === "" ? await askNewPassword(terminal) : password;
}

/** Returns the answer, or null at the end of input: nothing is registered by halves. */
async function askAdmin(terminal: Terminal): Promise<boolean | null> {
  const answer = await terminal.ask("Make admin [no]: ");
  return answer === null ? null : ["y", "yes", "true"].includes(answer.toLowerCase());
}

async function sendRegistration(
  { url, sharedSecret }: Server,
  { user, terminal }: { user: NewUser; terminal: Terminal },
): Promise<JsonAnswer> {
  const answer = await send(url);
  if (answer.status !== 200) return answer;
  const nonce = isJsonObject(answer.body) ? answer.body.nonce : null;
  if (typeof nonce !== "string") throw new StartupError(`${url} does not answer as a homeserver would`);
  terminal.out("Sending registration request...\n");
  const parts = [nonce, user.name, user.password, user.isAdmin ? "admin" : "notadmin"];
  if (user.userType !== null) parts.push(user.userType);
  return await send(url, {
    nonce,
    username: user.name,
    password: user.password,
    mac: createHmac("sha1", sharedSecret).update(parts.join("\0")).digest("hex"),
    admin: user.isAdmin,
    user_type: user.userType,
  });
}

async function send(url: string, body?: JsonObject): Promise<JsonAnswer> {
  try {
    return await requestJson(`${url}/_synapse/admin/v1/register`, body);
  } catch {
    throw new StartupError(`Cannot reach a homeserver at ${url}; is it running?`);
  }
}

function report(answer: JsonAnswer, { user, terminal }: { user: NewUser; terminal: Terminal }): number {
  if (answer.status === 200) {
    terminal.out("Success!\n");
    return 0;
  }
  const body = isJsonObject(answer.body) ? answer.body : {};
  if (answer.status === 400 && body.errcode === "M_USER_IN_USE" && user.mayExist) {
    terminal.out("User already exists. Skipping.\n");
    return 0;
  }
  terminal.out(`ERROR! Received ${answer.status} ${answer.reason}\n`);
  if (typeof body.error === "string") terminal.out(`${body.error}\n`);
  return 1;
}
