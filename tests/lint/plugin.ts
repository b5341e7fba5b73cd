/**
 * The project's own lint rules, run by `deno lint` (see `lint.plugins` in deno.json).
 *
 * To add a rule: write a `Deno.lint.Rule` here, list it in `rules` below and prove in plugin_test.ts that it both
 * reports and stays silent. A rule is about code under `src/` and `main.ts` unless it says otherwise.
 */
import { importProblem, projectPath } from "./layers.ts";

/** The length from which a file is refused. */
export const MAX_FILE_LINES = 500;
/** The greatest length of a function or method of the product. */
export const MAX_FUNCTION_LINES = 50;
/** The comment by which a file declares that it is a table of data, which may be long. */
export const DATA_TABLE_MARK = "@data-table";

const MAX_POSITIONAL = 2;
const AMBIENT_GLOBALS = new Set(["fetch", "console"]);
const AMBIENT_MEMBERS = new Set([
  "Date.now",
  "Math.random",
  "crypto.randomUUID",
  "crypto.getRandomValues",
  "Deno.env",
  "globalThis.fetch",
  "globalThis.console",
]);

/** Tells whether a file is product code, as opposed to tests, benchmarks and tools. */
function isProduct(filename: string): boolean {
  return projectPath(filename) !== null && !filename.endsWith("_test.ts") && !filename.includes("/tests/");
}

/** Tells whether a file may read the clock, random numbers, the environment and the network directly. */
function mayBeAmbient(filename: string): boolean {
  const path = projectPath(filename);
  return path === null || path === "main.ts" || path.startsWith("src/lib/") || !isProduct(filename);
}

const importOrder: Deno.lint.Rule = {
  create(context) {
    const from = projectPath(context.filename);
    if (from === null || !isProduct(context.filename)) return {};
    const examine = (source: Deno.lint.Node | null) => {
      if (source?.type !== "Literal" || typeof source.value !== "string") return;
      const problem = importProblem(from, source.value);
      if (problem !== null) context.report({ node: source, message: `Import order: ${problem}` });
    };
    return {
      ImportDeclaration: (node) => examine(node.source),
      ExportNamedDeclaration: (node) => examine(node.source),
      ExportAllDeclaration: (node) => examine(node.source),
      ImportExpression: (node) => examine(node.source),
    };
  },
};

const noAmbient: Deno.lint.Rule = {
  create(context) {
    if (mayBeAmbient(context.filename)) return {};
    const report = (node: Deno.lint.Node, what: string) =>
      context.report({
        node,
        message: `${what} is ambient: take the clock, randomness, log or client as an argument (src/lib)`,
      });
    return {
      MemberExpression(node) {
        if (node.computed || node.object.type !== "Identifier" || node.property.type !== "Identifier") return;
        const name = `${node.object.name}.${node.property.name}`;
        if (node.object.name === "console" || AMBIENT_MEMBERS.has(name)) report(node, name);
      },
      CallExpression(node) {
        if (node.callee.type === "Identifier" && AMBIENT_GLOBALS.has(node.callee.name)) report(node, node.callee.name);
      },
      NewExpression(node) {
        const isDate = node.callee.type === "Identifier" && node.callee.name === "Date";
        if (isDate && node.arguments.length === 0) report(node, "new Date()");
      },
    };
  },
};

/** Applies to every linted file. */
const fileSize: Deno.lint.Rule = {
  create(context) {
    return {
      Program(node) {
        const lines = context.sourceCode.text.replace(/\n$/, "").split("\n").length;
        if (lines < MAX_FILE_LINES) return;
        const declared = context.sourceCode.getAllComments().some((comment) => comment.value.includes(DATA_TABLE_MARK));
        if (declared) return;
        context.report({ node, message: `The file has ${lines} lines; split it below ${MAX_FILE_LINES}` });
      },
    };
  },
};

const noDefaultExport: Deno.lint.Rule = {
  create(context) {
    // A lint plugin is found by its default export; nothing else has one.
    if (context.filename.endsWith("tests/lint/plugin.ts")) return {};
    return {
      ExportDefaultDeclaration(node) {
        context.report({ node, message: "Export by name, not as default" });
      },
      ExportSpecifier(node) {
        if (node.exported.type !== "Identifier" || node.exported.name !== "default") return;
        context.report({ node, message: "Export by name, not as default" });
      },
    };
  },
};

const noBarrel: Deno.lint.Rule = {
  create(context) {
    return {
      ExportAllDeclaration(node) {
        context.report({ node, message: "Import from the file that defines the thing: no barrels" });
      },
    };
  },
};

const noEnum: Deno.lint.Rule = {
  create(context) {
    return {
      TSEnumDeclaration(node) {
        context.report({ node, message: "Use a union of strings, not an enum" });
      },
    };
  },
};

/** Tells whether a parameter is the options object that may follow the positional ones. */
function isOptions(parameter: Deno.lint.Parameter): boolean {
  const target = parameter.type === "AssignmentPattern" ? parameter.left : parameter;
  if (target.type === "ObjectPattern") return true;
  return target.type === "Identifier" && /(^options|Options)$/.test(target.name);
}

const maxPositional: Deno.lint.Rule = {
  create(context) {
    const examine = (node: Deno.lint.FunctionDeclaration) => {
      const last = node.params.at(-1);
      const positional = node.params.length - (last !== undefined && isOptions(last) ? 1 : 0);
      if (positional <= MAX_POSITIONAL) return;
      context.report({
        node: node.id ?? node,
        message: `${positional} positional parameters: at most ${MAX_POSITIONAL}, then one options object`,
      });
    };
    return { FunctionDeclaration: examine };
  },
};

type Callable = Deno.lint.FunctionDeclaration | Deno.lint.FunctionExpression;

const functionSize: Deno.lint.Rule = {
  create(context) {
    if (!isProduct(context.filename)) return {};
    const examine = (node: Callable) => {
      const { text } = context.sourceCode;
      const lines = text.slice(node.range[0], node.range[1]).split("\n").length;
      if (lines <= MAX_FUNCTION_LINES) return;
      context.report({ node, message: `The function has ${lines} lines; split it to ${MAX_FUNCTION_LINES} at most` });
    };
    return { FunctionDeclaration: examine, FunctionExpression: examine };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "synapse-ts",
  rules: {
    "file-size": fileSize,
    "function-size": functionSize,
    "import-order": importOrder,
    "max-positional": maxPositional,
    "no-ambient": noAmbient,
    "no-barrel": noBarrel,
    "no-default-export": noDefaultExport,
    "no-enum": noEnum,
  },
};

export default plugin;
