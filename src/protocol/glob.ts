/** Globs over names. Spec: appendices, "Glob-style matching". */

/** Tells whether a glob covers the whole of `text`, regardless of case. */
export function matchesGlob(text: string, glob: string): boolean {
  return matchesGlobExactly(text.toLowerCase(), glob.toLowerCase());
}

/**
 * Tells whether a glob covers the whole of `name`, in the same case. Never takes more than the product of both lengths:
 * only the last star is ever tried again.
 */
export function matchesGlobExactly(name: string, pattern: string): boolean {
  let at = 0;
  let inPattern = 0;
  let star = -1;
  let resume = 0;
  while (at < name.length) {
    const wanted = pattern[inPattern];
    if (wanted === "*") {
      star = inPattern++;
      resume = at;
    } else if (wanted === "?" || wanted === name[at]) {
      inPattern++;
      at++;
    } else if (star >= 0) {
      inPattern = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[inPattern] === "*") inPattern++;
  return inPattern === pattern.length;
}
