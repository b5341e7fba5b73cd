/**
 * State that belongs to a user: the state key is their user id, and with MSC3757 may go on after it.
 * https://github.com/matrix-org/matrix-spec-proposals/pull/3757
 */
import { parseUserId, type UserId } from "./ids.ts";

/** A user id at the start of a state key: its server's name ends where the text does, or at "_", which no name has. */
const OWNER = /^(@[^:]*:(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::[0-9]{1,5})?)(?:_.*)?$/su;

/** Returns the user to whom a state key that starts with "@" belongs; null where it names none. */
export function ownerOfStateKey(stateKey: string): UserId | null {
  return parseUserId(OWNER.exec(stateKey)?.[1] ?? "");
}
