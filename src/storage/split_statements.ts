/** Cuts a migration file into its statements. */

/** What a statement is made of: comments, quoted text, dollar-quoted text, words, anything else. */
const TOKEN = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$)[\s\S]*?\1|\w+|[\s\S]/g;

/**
 * Returns the statements of `text` without their semicolons and comments. A semicolon inside quotes, or between the
 * BEGIN and END of a trigger, does not end a statement.
 */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let current = "";
  let isTrigger = false;
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token.startsWith("--") || token.startsWith("/*")) continue;
    const word = token.toUpperCase();
    if (word === "TRIGGER" && /^\s*CREATE\s+$/i.test(current)) isTrigger = true;
    if (isTrigger && (word === "BEGIN" || word === "CASE")) depth++;
    if (isTrigger && word === "END") depth--;
    if (token === ";" && depth === 0) {
      if (current.trim() !== "") statements.push(current.trim());
      current = "";
      isTrigger = false;
    } else {
      current += token;
    }
  }
  if (current.trim() !== "") statements.push(current.trim());
  return statements;
}
