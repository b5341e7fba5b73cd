/** The template engine, loaded with the first page or mail. It understands the Jinja2 that Synapse's templates are in. */
import type nunjucks from "nunjucks";

/** A template environment. */
export type TemplateEnvironment = nunjucks.Environment;
/** A template that was read. */
export type ReadTemplate = nunjucks.Template;
/** The module. */
export type Nunjucks = typeof nunjucks;

/** Returns the module. */
export async function loadNunjucks(): Promise<Nunjucks> {
  const loaded = (await import("nunjucks")).default;
  // Python's `items`, `get`, slices and the like, as people's own templates use them.
  loaded.installJinjaCompat();
  return loaded;
}
