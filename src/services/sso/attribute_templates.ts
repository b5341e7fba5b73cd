/** The names and addresses of new accounts, by Jinja templates over what a provider says of a person. */
import { loadNunjucks, type ReadTemplate } from "../../lib/nunjucks.ts";
import { StartupError } from "../../lib/startup_error.ts";

/** Templates of one provider by what they are for. */
export type TemplateTexts = Readonly<Record<string, string>>;

const LOCALPART_CHARACTERS = /[^a-z0-9._/+-]/;

/** Renders templates. */
export class AttributeTemplates {
  readonly #templates: ReadonlyMap<string, ReadTemplate>;

  private constructor(templates: ReadonlyMap<string, ReadTemplate>) {
    this.#templates = templates;
  }

  /** Reads templates. Throws `StartupError` for one that is none; `where` names them. */
  static async load(texts: TemplateTexts, where: string): Promise<AttributeTemplates> {
    const nunjucks = await loadNunjucks();
    const environment = new nunjucks.Environment(null, { autoescape: false });
    environment.addFilter("localpart_from_email", (address: unknown) => String(address).split("@", 1)[0] ?? "");
    const templates = new Map<string, ReadTemplate>();
    for (const [name, text] of Object.entries(texts)) {
      try {
        templates.set(name, new nunjucks.Template(text, environment, name, true));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new StartupError(`${where}.${name} is no template: ${reason.replace(/\s*\n\s*/g, " ")}`);
      }
    }
    return new AttributeTemplates(templates);
  }

  /** Returns what a template makes of a person; empty where there is no such template. Throws where it cannot. */
  render(name: string, user: Readonly<Record<string, unknown>>): string {
    return this.#templates.get(name)?.render({ user }).trim() ?? "";
  }
}

/** Returns a name as a user id can have it: in small letters, and with the bytes of other characters as `=xx`. */
export function localpartFrom(name: string): string {
  let localpart = "";
  for (const character of name.toLowerCase()) {
    localpart += LOCALPART_CHARACTERS.test(character) ? escapeBytes(character) : character;
  }
  return localpart.startsWith("_") ? `=5f${localpart.slice(1)}` : localpart;
}

function escapeBytes(character: string): string {
  return [...new TextEncoder().encode(character)].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join("");
}
