/** Reads Prometheus's text format, strictly: what its own parser would refuse, or take for something else, is an error. */
import assert from "node:assert/strict";

/** What was measured under one name. */
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** One value. */
export interface Sample {
  /** With `_bucket` and the like. */
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/y;

/** Returns the families by their names. Throws where the text is not as it must be. */
export function readExposition(text: string): Map<string, Family> {
  assert(text.endsWith("\n"), "The last line must end");
  const families = new Map<string, Family & { samples: Sample[] }>();
  let current: (Family & { samples: Sample[] }) | null = null;
  let help: readonly [string, string] | null = null;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (kind === "HELP") {
      assert(!families.has(name), `${name} is there twice`);
      help = [name, rest];
    } else if (kind === "TYPE") {
      assert.match(name, NAME);
      assert.match(rest, /^(counter|gauge|histogram|summary)$/);
      assert.equal(help?.[0], name, "The help must be just before the type");
      current = { name, type: rest, help: help?.[1] ?? "", samples: [] };
      families.set(name, current);
    } else {
      assert(current !== null, `A value without a type: ${line}`);
      current.samples.push(readSample(line, current));
    }
  }
  for (const family of families.values()) check(family);
  return families;
}

function readSample(line: string, { name, type }: Family): Sample {
  const match = SAMPLE.exec(line);
  assert(match !== null, `Not a value: ${line}`);
  const [, found = "", labelText = "", valueText = ""] = match;
  const suffixes = type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
  assert(suffixes.some((suffix) => found === name + suffix), `${found} does not belong to ${name}`);
  const labels = new Map<string, string>();
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < labelText.length) {
    const at = LABEL.lastIndex;
    const label = LABEL.exec(labelText);
    assert(label !== null, `Not a label, at ${at}: ${line}`);
    assert(!labels.has(label[1] ?? ""), `A label twice: ${line}`);
    labels.set(label[1] ?? "", label[2] ?? "");
  }
  const value = valueText === "+Inf" ? Infinity : valueText === "-Inf" ? -Infinity : Number(valueText);
  assert(!Number.isNaN(value), `Not a number: ${line}`);
  return { name: found, labels, value };
}

function keyOf({ name, labels }: Sample, without: string | null = null): string {
  return JSON.stringify([name, [...labels].filter(([label]) => label !== without).sort()]);
}

function check({ name, type, help, samples }: Family): void {
  assert.notEqual(help, "", `${name} has no help`);
  const keys = samples.map((sample) => keyOf(sample));
  assert.equal(new Set(keys).size, keys.length, `${name} has a series twice`);
  if (type === "counter") {
    assert(name.endsWith("_total"), `${name} counts, but does not end in _total`);
    for (const { value } of samples) assert(value >= 0 && Number.isFinite(value), `${name} counts ${value}`);
  }
  if (type === "histogram") checkBuckets({ name, samples });
}

function checkBuckets({ name, samples }: Pick<Family, "name" | "samples">): void {
  const buckets = new Map<string, Sample[]>();
  for (const sample of samples) {
    if (!sample.name.endsWith("_bucket")) continue;
    const key = keyOf(sample, "le");
    buckets.set(key, [...buckets.get(key) ?? [], sample]);
  }
  for (const group of buckets.values()) {
    const bounds = group.map(({ labels }) => labels.get("le") === "+Inf" ? Infinity : Number(labels.get("le")));
    assert.deepEqual(bounds, [...bounds].sort((a, b) => a - b), `${name}: bounds in order`);
    assert.equal(bounds.at(-1), Infinity, `${name}: the last bucket is of all`);
    const counts = group.map(({ value }) => value);
    assert.deepEqual(counts, [...counts].sort((a, b) => a - b), `${name}: buckets hold those below them`);
    const rest = [...group[0]?.labels ?? []].filter(([label]) => label !== "le");
    const count = samples.find((sample) =>
      sample.name === `${name}_count` && keyOf(sample) === keyOf({ name: sample.name, labels: new Map(rest), value: 0 })
    );
    if (count !== undefined) assert.equal(count.value, counts.at(-1), `${name}: the count is that of all`);
  }
}
