/** Asking for a new password. */
import type { Terminal } from "../lib/terminal.ts";

/** Asks for a password twice; null, with the reason told, when it is blank or differs. */
export async function askNewPassword(terminal: Terminal): Promise<string | null> {
  const password = await terminal.askSecret("Password: ");
  if (password === null || password === "") {
    terminal.out("Password cannot be blank.\n");
    return null;
  }
  if (await terminal.askSecret("Confirm password: ") !== password) {
    terminal.out("Passwords do not match\n");
    return null;
  }
  return password;
}
