/** Why something could not be done, in the words of a sentence to the operator. */

/** By the codes of the operating system, which Deno has as classes and modules of Node as `code`. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRINUSE: "another program does already",
  EADDRNOTAVAIL: "this machine has no such address",
  EAFNOSUPPORT: "this machine has no such address",
  EISDIR: "it is a folder",
  ENOENT: "there is no such file or folder",
  ENOSPC: "there is no space left",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
};
const CLASSES: readonly (readonly [new () => Error, string])[] = [
  [Deno.errors.NotFound, "ENOENT"],
  [Deno.errors.PermissionDenied, "EACCES"],
  [Deno.errors.IsADirectory, "EISDIR"],
  [Deno.errors.NotADirectory, "ENOTDIR"],
  [Deno.errors.AddrInUse, "EADDRINUSE"],
  [Deno.errors.AddrNotAvailable, "EADDRNOTAVAIL"],
];

/** Returns why something failed: in words where the reason is a common one, else the first line of the message. */
export function reasonOf(error: unknown): string {
  const words = WORDS[codeOf(error) ?? ""];
  if (words !== undefined) return words;
  return error instanceof Error ? firstLine(error.message) || error.name : firstLine(String(error));
}

/** Returns the operating system's code of an error, or null. */
export function codeOf(error: unknown): string | null {
  const found = CLASSES.find(([type]) => error instanceof type);
  if (found !== undefined) return found[1];
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** Returns the first line of a message, without the colon that leads to the next. */
export function firstLine(text: string): string {
  return (text.split("\n")[0] ?? "").replace(/:$/, "");
}
