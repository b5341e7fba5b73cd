/** The version of this program. */
import project from "../../package.json" with { type: "json" };

/** The version, as in `package.json`. */
export const VERSION: string = project.version;
