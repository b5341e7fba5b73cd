/** Certificates for servers of tests, signed by an authority made for this process. Needs the program `openssl`. */

/** A certificate with its key, in PEM. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

const folder = await Deno.makeTempDir({ prefix: "synapse-ts-ca-" });
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

const EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
let counter = 0;

await openssl([
  ...["req", "-x509", ...EC_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Test authority"],
  ...["-addext", "basicConstraints=critical,CA:TRUE"],
]);

/** The file with the authority's certificate. */
export const CA_PATH = `${folder}/ca.crt`;
/** The authority's certificate. */
export const CA_PEM: string = await Deno.readTextFile(CA_PATH);

/** Makes a certificate for subject alternative names such as `DNS:hs1.test` and `IP:127.0.0.1`. */
export async function makeCertificate(...names: string[]): Promise<TestCertificate> {
  const base = `leaf${counter++}`;
  await openssl(["req", ...EC_KEY, "-keyout", `${base}.key`, "-out", `${base}.csr`, "-subj", "/CN=leaf"]);
  await Deno.writeTextFile(`${folder}/${base}.ext`, `subjectAltName=${names.join(",")}\n`);
  await openssl([
    ...["x509", "-req", "-in", `${base}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "30"],
    ...["-set_serial", String(counter), "-extfile", `${base}.ext`, "-out", `${base}.crt`],
  ]);
  const [cert, key] = await Promise.all([
    Deno.readTextFile(`${folder}/${base}.crt`),
    Deno.readTextFile(`${folder}/${base}.key`),
  ]);
  return { cert, key };
}

async function openssl(args: readonly string[]): Promise<void> {
  const command = new Deno.Command("openssl", { args: [...args], cwd: folder, stdout: "null", stderr: "piped" });
  const { success, stderr } = await command.output();
  if (!success) throw new Error(`openssl failed: ${new TextDecoder().decode(stderr)}`);
}
