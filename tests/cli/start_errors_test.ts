/** Each set-up that cannot work ends in one sentence with the file and the reason, and never in a stack trace. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type CommandFolder, commandFolder } from "./command_line.ts";

interface Case {
  /** Breaks the set-up; the text is a second configuration file. */
  readonly breakIt: (folder: CommandFolder) => Promise<string> | string;
  readonly sentence: (folder: string) => string;
}

const DEAF = "listeners: []\n";

const CASES: Readonly<Record<string, Case>> = {
  "a signing key that is a folder": {
    breakIt: async ({ path }) => {
      await Deno.remove(`${path}/localhost.signing.key`);
      await Deno.mkdir(`${path}/localhost.signing.key`);
      return DEAF;
    },
    sentence: (path) => `Cannot read the signing key ${path}/localhost.signing.key: it is a folder`,
  },
  "a media folder that is a file": {
    breakIt: async (folder) => {
      await folder.write("media", "");
      return `${DEAF}media_store_path: media\n`;
    },
    sentence: (path) => `Cannot use the media folder ${path}/media: a part of the path is not a folder`,
  },
  "a socket in a folder that is not there": {
    breakIt: ({ path }) => `listeners: [{ path: ${path}/none/sock, resources: [{ names: [client] }] }]\n`,
    sentence: (path) => `Cannot listen on ${path}/none/sock: there is no such file or folder`,
  },
  "an address that is none": {
    breakIt: () => "listeners: [{ port: 0, bind_addresses: [192.0.2.1], resources: [{ names: [client] }] }]\n",
    sentence: () => "Cannot listen on 192.0.2.1 port 0: this machine has no such address",
  },
  "templates that are not there": {
    breakIt: ({ path }) => `${DEAF}templates: { custom_template_directory: ${path}/none }\n`,
    sentence: (path) =>
      `Cannot read templates.custom_template_directory (${path}/none): there is no such file or folder`,
  },
  "an application service that is not there": {
    breakIt: () => `${DEAF}app_service_config_files: [none.yaml]\n`,
    sentence: () => "Cannot read none.yaml: there is no such file or folder",
  },
  "an application service that is no YAML": {
    breakIt: async (folder) => {
      await folder.write("as.yaml", "id: irc\nurl: [\n");
      return `${DEAF}app_service_config_files: [as.yaml]\n`;
    },
    sentence: () =>
      "as.yaml:3:1: this is not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
  },
  "a database of another program": {
    breakIt: ({ path }) => {
      const other = new DatabaseSync(`${path}/homeserver.db`);
      other.exec("CREATE TABLE invoices (total INTEGER)");
      other.close();
      return DEAF;
    },
    sentence: () => "The database has tables of another program; give this server an empty one",
  },
};

for (const [name, { breakIt, sentence }] of Object.entries(CASES)) {
  Deno.test(`serve refuses ${name} in one sentence`, async () => {
    await using folder = await commandFolder();
    await folder.run(["generate-config", "--server-name", "localhost", "--data-directory", folder.path]);
    await folder.write("broken.yaml", await breakIt(folder));
    assert.deepEqual(await folder.run(["serve", "-c", "homeserver.yaml", "-c", "broken.yaml"]), {
      code: 1,
      stdout: "",
      stderr: `${sentence(folder.path)}\n`,
    });
  });
}
