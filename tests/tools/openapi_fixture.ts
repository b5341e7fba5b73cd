/**
 * Makes `tests/fixtures/spec/client_server.jsonl` from the OpenAPI data of the Matrix specification:
 *
 *   deno run --allow-read --allow-write tests/tools/openapi_fixture.ts SPEC-FOLDER
 *
 * SPEC-FOLDER is the `data` folder of matrix-spec at the wanted version. Each line of the fixture is one JSON object:
 * first where it comes from, then every operation by path and method, then every schema that a `$ref` names. Prose and
 * examples are left out; `$ref` holds the key of the schema's line.
 */
import { parse } from "yaml";
import type { Operation, Parameter, Schema } from "../harness/openapi.ts";

// deno-lint-ignore no-explicit-any -- the data is what the specification's repository holds
type Yaml = any;

const API = "api/client-server";
const METHODS = ["get", "put", "post", "delete", "patch"];
const LICENSE = "Apache-2.0, The Matrix.org Foundation C.I.C. and contributors";
/** What a schema says to people. */
const PROSE = new Set(["description", "title", "example", "examples", "deprecated", "default", "$schema", "$id"]);

/** Reads the files of the specification, each once, and collects the schemas that are referred to. */
class Collector {
  readonly #root: string;
  readonly #files = new Map<string, Yaml>();
  readonly schemas = new Map<string, Schema>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Returns the parsed file. */
  file(path: string): Yaml {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const parsed = parse(Deno.readTextFileSync(`${this.#root}/${path}`));
    this.#files.set(path, parsed);
    return parsed;
  }

  /** Follows a `$ref` that is not a schema's: a parameter's or a response's. */
  follow(node: Yaml, from: string): { node: Yaml; file: string } {
    if (typeof node?.$ref !== "string") return { node, file: from };
    const { file, pointer } = locate(node.$ref, from);
    return this.follow(lookUp(this.file(file), pointer), file);
  }

  /** Returns a schema without prose, having collected what it refers to. */
  schema(node: Yaml, from: string): Schema {
    const result: Record<string, unknown> = {};
    for (const [key, value] of Object.entries<Yaml>(node)) {
      if (PROSE.has(key) || key.startsWith("x-")) continue;
      if (key === "$ref") result[key] = this.#collect(value, from);
      else if (["items", "additionalProperties", "propertyNames"].includes(key) && typeof value === "object") {
        result[key] = this.schema(value, from);
      } else if (["properties", "patternProperties"].includes(key)) {
        const entries = Object.entries<Yaml>(value).map(([name, child]) => [name, this.schema(child, from)]);
        result[key] = Object.fromEntries(entries);
      } else if (["allOf", "anyOf", "oneOf"].includes(key)) {
        result[key] = value.map((child: Yaml) => this.schema(child, from));
      } else result[key] = value;
    }
    return result as Schema;
  }

  #collect(reference: string, from: string): string {
    const { file, pointer } = locate(reference, from);
    const key = pointer === "" ? file : `${file}#${pointer}`;
    if (!this.schemas.has(key)) {
      // Before the schema is walked, because schemas refer to themselves.
      this.schemas.set(key, {});
      this.schemas.set(key, this.schema(lookUp(this.file(file), pointer), file));
    }
    return key;
  }
}

function locate(reference: string, from: string): { file: string; pointer: string } {
  const [target = "", pointer = ""] = reference.split("#");
  if (target === "") return { file: from, pointer };
  return { file: new URL(target, `http://spec/${from}`).pathname.slice(1), pointer };
}

function lookUp(document: Yaml, pointer: string): Yaml {
  return pointer.split("/").filter((part) => part !== "").reduce((node, part) => node[part], document);
}

function basePathOf(document: Yaml): string {
  const [server] = document.servers;
  const defaults = server.variables ?? {};
  const url = server.url.replace(/\{(\w+)\}/g, (_: string, name: string) => defaults[name].default);
  return new URL(url).pathname.replace(/\/$/, "");
}

function operationsOf(collector: Collector, file: string): Operation[] {
  const document = collector.file(`${API}/${file}`);
  const operations: Operation[] = [];
  for (const [path, methods] of Object.entries<Yaml>(document.paths)) {
    for (const method of METHODS) {
      const operation = methods[method];
      if (operation === undefined) continue;
      operations.push({
        method: method.toUpperCase(),
        // The data tells two operations of one path apart by a space at its end.
        path: basePathOf(document) + path.trimEnd(),
        file,
        id: operation.operationId,
        security: (operation.security ?? []).map((scheme: Yaml) => Object.keys(scheme)[0] ?? ""),
        ...describe(collector, { operation, parameters: methods.parameters ?? [], from: `${API}/${file}` }),
      });
    }
  }
  return operations;
}

function describe(
  collector: Collector,
  { operation, parameters, from }: { operation: Yaml; parameters: Yaml[]; from: string },
): Pick<Operation, "parameters" | "body" | "responses"> {
  const contents = (node: Yaml, file: string): Record<string, Schema> =>
    Object.fromEntries(
      Object.entries<Yaml>(node?.content ?? {}).map(([type, media]) => [
        type,
        collector.schema(media.schema ?? {}, file),
      ]),
    );
  const { node: body, file: bodyFile } = collector.follow(operation.requestBody, from);
  return {
    parameters: [...parameters, ...operation.parameters ?? []].map((parameter: Yaml): Parameter => {
      const { node, file } = collector.follow(parameter, from);
      return {
        in: node.in,
        name: node.name,
        required: node.required === true,
        schema: collector.schema(node.schema ?? {}, file),
      };
    }),
    body: body === undefined ? null : { required: body.required === true, content: contents(body, bodyFile) },
    responses: Object.fromEntries(
      Object.entries<Yaml>(operation.responses).map(([status, response]) => {
        const { node, file } = collector.follow(response, from);
        return [status, contents(node, file)];
      }),
    ),
  };
}

const [root] = Deno.args;
if (root === undefined) throw new Error("Say where the specification's data folder is");
const collector = new Collector(root);
const files = Array.from(Deno.readDirSync(`${root}/${API}`)).map(({ name }) => name).filter((name) =>
  name.endsWith(".yaml")
);
const compare = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;
const operations = files.flatMap((file) => operationsOf(collector, file)).sort((a, b) =>
  compare(`${a.path} ${a.method}`, `${b.path} ${b.method}`)
);
const schemas = [...collector.schemas].sort(([a], [b]) => compare(a, b)).map(([key, schema]) => ({ key, schema }));
const header = { source: "matrix-org/matrix-spec, data/, v1.19", license: LICENSE };
const lines = [header, ...operations, ...schemas].map((line) => `${JSON.stringify(line)}\n`);
Deno.writeTextFileSync(new URL("../fixtures/spec/client_server.jsonl", import.meta.url), lines.join(""));
console.log(`${operations.length} operations, ${schemas.length} schemas`);
