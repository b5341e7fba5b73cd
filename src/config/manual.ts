/**
 * The manual of the configuration, `docs/configuration.md`, written from the table of options.
 *
 * `make docs` writes it; a test holds it to the table.
 */
import { listOldNames } from "./legacy.ts";
import { type ListedOption, type ListedPart, listOptions, SECTIONS } from "./options.ts";

/** Headings of the sections, in the order of the table. */
const TITLES: Readonly<Record<keyof typeof SECTIONS, string>> = {
  server: "Server",
  listeners: "Listeners",
  email: "E-mail",
  blocking: "Homeserver blocking",
  tls: "TLS",
  federation: "Federation",
  caching: "Caching",
  database: "Database",
  logging: "Logging",
  ratelimits: "Rate limits",
  media: "Media store",
  captcha: "Captcha",
  turn: "TURN and calls",
  registration: "Registration",
  sessions: "User sessions",
  metrics: "Metrics and statistics",
  api: "API",
  signingKeys: "Signing keys",
  sso: "Single sign-on",
  passwords: "Passwords",
  push: "Push",
  rooms: "Rooms",
  workers: "Workers",
  experimental: "Experimental features",
  legacy: "Options Synapse no longer documents",
};

/** How many options have which effect. */
export interface OptionCounts {
  readonly works: number;
  readonly noEffect: number;
  readonly notYet: number;
}

/** Counts the options by their effect. */
export function countOptions(options: readonly ListedOption[] = listOptions()): OptionCounts {
  const count = (status: ListedOption["effect"]["status"]) =>
    options.filter(({ effect }) => effect.status === status).length;
  return { works: count("works"), noEffect: count("accepted, no effect"), notYet: count("not yet") };
}

/** Returns the text of `docs/configuration.md`. */
export function manualText(): string {
  const options = listOptions();
  const sections = Object.entries(TITLES).map(([section, title]) =>
    `## ${title}\n\n${options.filter((option) => option.section === section).map(optionText).join("\n")}`
  );
  return `${introduction(options)}\n${sections.join("\n")}\n${oldNamesText()}`;
}

function introduction(options: readonly ListedOption[]): string {
  const { works, noEffect, notYet } = countOptions(options);
  return `<!-- deno-fmt-ignore-file -->
<!-- Written by "make docs" from src/config; changes belong there. -->

# Configuration

Every option of Synapse's \`homeserver.yaml\` is known here by its name, with its default. One that has no effect says
why; the server reads it, checks it and goes on. Several files and folders of \`*.yaml\` files can be given by \`-c\`;
they merge by top-level option, the later file wins. \`synapse-ts config check -c homeserver.yaml\` checks them without
starting the server. \`SIGHUP\` reloads the log configuration, TLS certificates, cache sizes, rate limits and the files
of application services.

Durations are milliseconds, or \`30s\`, \`5m\`, \`1h\`, \`7d\`, \`2w\`, \`1y\`. Sizes are numbers, or \`87K\`, \`50M\`, \`1G\`
(powers of 1024). An option of a list's items is written \`list[].option\` in messages and \`list.option\` here.

| options | |
| --- | --- |
| that work | ${works} |
| without effect here, with the reason | ${noEffect} |
| not yet | ${notYet} |
`;
}

function optionText(option: ListedOption): string {
  const { name, doc, since, effect, parts } = option;
  const status = effect.status === "works"
    ? `Works since ${since}.`
    : effect.status === "not yet"
    ? "**Not yet**: it is checked and has no effect in this version."
    : `**No effect**: ${effect.because}.`;
  const inner = parts.map((part) => `- \`${part.name}\`: ${valueText(part)}\n`).join("");
  const list = inner === "" ? "" : `\n${inner}`;
  return `### \`${name}\`\n\n${doc}\n\nType: ${valueText(option)}. ${status}\n${list}`;
}

function valueText({ kind, expects, fallback }: ListedOption | ListedPart): string {
  const type = kind === "choice" ? `one of ${code(expects.replaceAll(/"/g, ""))}` : expectation(kind, expects);
  if (fallback === undefined) return `${type}; required`;
  return `${type}; default ${code(JSON.stringify(fallback))}`;
}

/** The bounds of numbers and the grammar of strings; the other kinds say it by their name. */
function expectation(kind: string, expects: string): string {
  const isPlain = ["list", "map", "any", "duration", "size", "boolean"].includes(kind) || expects === `a ${kind}`;
  return isPlain ? kind : expects.replace(/^an? /, "");
}

function code(text: string): string {
  return `\`${text}\``;
}

function oldNamesText(): string {
  const rows = listOldNames().map(({ name, now }) => `| \`${name}\` | \`${now}\` |\n`).join("");
  return `## Old names\n\nThey work, with a warning.\n\n| old name | now |\n| --- | --- |\n${rows}`;
}
