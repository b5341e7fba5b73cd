/** What is inside an executable, in CycloneDX's form: the packages of the lock file and the Deno it is compiled with. */

/** What the lock file says of a package. */
interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

/** The parts of package-lock.json that count. */
export interface Lock {
  readonly name: string;
  readonly version: string;
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

/** A part of the product. */
export interface Component {
  readonly type: "library" | "platform";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly ({ license: { id: string } } | { expression: string })[];
  readonly hashes?: readonly { alg: "SHA-512"; content: string }[];
}

/** Returns the list as an object. Packages for development only are not in it. */
export function billOfMaterials(lock: Lock, deno: string): Record<string, unknown> {
  const components = new Map<string, Component>();
  for (const [path, locked] of Object.entries(lock.packages)) {
    const name = path.split("node_modules/").at(-1) ?? "";
    if (name === "" || locked.version === undefined || locked.dev === true || locked.devOptional === true) continue;
    // Some packages ask for types, of which nothing is in the executable.
    if (name.startsWith("@types/")) continue;
    const component = componentOf(name, { ...locked, version: locked.version });
    components.set(component.purl, component);
  }
  const purl = `pkg:generic/deno@${deno}`;
  const runtime: Component = {
    ...{ type: "platform", "bom-ref": purl, name: "deno", version: deno, purl },
    licenses: [{ license: { id: "MIT" } }],
  };
  const own = `pkg:npm/${lock.name}@${lock.version}`;
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      component: {
        ...{ type: "application", "bom-ref": own, name: lock.name, version: lock.version, purl: own },
        licenses: licensesOf(lock.packages[""]?.license),
      },
    },
    components: [runtime, ...components.values()],
  };
}

function componentOf(name: string, { version, license, integrity }: LockedPackage & { version: string }): Component {
  const purl = `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;
  const digest = /^sha512-(.+)$/.exec(integrity ?? "")?.[1];
  return {
    ...{ type: "library", "bom-ref": purl, name, version, purl },
    ...(license === undefined ? {} : { licenses: licensesOf(license) }),
    ...(digest === undefined ? {} : { hashes: [{ alg: "SHA-512", content: Uint8Array.fromBase64(digest).toHex() }] }),
  };
}

/** One licence by its name, or an expression of several. */
function licensesOf(license: string | undefined): ({ license: { id: string } } | { expression: string })[] {
  if (license === undefined) return [];
  return [/[ ()]/.test(license) ? { expression: license } : { license: { id: license } }];
}
