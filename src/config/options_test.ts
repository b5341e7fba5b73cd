import assert from "node:assert/strict";
import { listOptions } from "./options.ts";
import { toCamel } from "./schema.ts";

/** Options that do their work while the configuration is read. */
const READ_HERE: ReadonlySet<string> = new Set([
  "enable_registration_without_verification",
  "form_secret_path",
  "recaptcha_private_key_path",
  "recaptcha_public_key_path",
  "registration_shared_secret_path",
  "turn_password_path",
  "turn_shared_secret_path",
  "user_agent_suffix",
]);

async function readSources(folder: string): Promise<string> {
  let text = "";
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory && entry.name !== "config") text += await readSources(path);
    else if (entry.name.endsWith(".ts") && !entry.name.endsWith("_test.ts")) text += await Deno.readTextFile(path);
  }
  return text;
}

Deno.test("every option that is said to work is read somewhere", async () => {
  const words = new Set((await readSources(new URL("..", import.meta.url).pathname)).match(/\w+/g));
  const idle = listOptions().filter(({ name, effect }) =>
    effect.status === "works" && !READ_HERE.has(name) && !words.has(toCamel(name))
  );
  assert.deepEqual(idle.map(({ name }) => name), []);
});
