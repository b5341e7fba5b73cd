/**
 * The HTML of messages, made safe to stand in a mail: a list of elements and attributes, everything else is left out.
 * Spec: client-server API, "m.room.message msgtypes", which says what messages may hold. Bytes and depth are bounded.
 */
import { Parser } from "htmlparser2";

const MAX_LENGTH = 32_768;
const MAX_DEPTH = 50;

const ALLOWED = new Set(
  ("font del h1 h2 h3 h4 h5 h6 blockquote p a ul ol nl li b i u strong em strike s code hr br div table thead caption " +
    "tbody tr th td pre").split(" "),
);
const VOID = new Set(["br", "hr"]);
/** Elements that go with what is in them; the text of a reply repeats another message. */
const SILENT = new Set([
  "script",
  "style",
  "mx-reply",
  "template",
  "noscript",
  "iframe",
  "object",
  "svg",
  "math",
  "title",
]);

/** Returns safe HTML. */
export function sanitizeHtml(html: string): string {
  let output = "";
  const open: string[] = [];
  let silent = 0;
  const parser = new Parser({
    onopentag(name, attributes) {
      if (SILENT.has(name)) silent++;
      if (silent > 0 || !ALLOWED.has(name) || open.length >= MAX_DEPTH) return;
      output += `<${name}${attributesOf(name, attributes)}>`;
      if (!VOID.has(name)) open.push(name);
    },
    ontext(text) {
      if (silent === 0) output += escapeHtml(text);
    },
    onclosetag(name) {
      if (SILENT.has(name)) silent = Math.max(0, silent - 1);
      else if (silent === 0 && open.at(-1) === name) {
        open.pop();
        output += `</${name}>`;
      }
    },
  });
  parser.write(html.slice(0, MAX_LENGTH));
  parser.end();
  return output + open.reverse().map((name) => `</${name}>`).join("");
}

/** Returns text as HTML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function attributesOf(name: string, { href, color }: Readonly<Record<string, string>>): string {
  if (name === "a" && href !== undefined && /^(https?|mailto):/i.test(href)) {
    return ` href="${escapeHtml(href)}" rel="noopener noreferrer"`;
  }
  return name === "font" && color !== undefined && /^#[0-9a-f]{3,8}$/i.test(color) ? ` color="${color}"` : "";
}
