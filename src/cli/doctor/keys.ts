/** Signing keys and secrets. */
import type { Config } from "../../config/config.ts";
import { parseSigningKeys, type SigningKey } from "../../protocol/signatures.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";

const MIN_SECRET_LENGTH = 16;

/** What the keys are, and what is wrong with them. */
export interface KeyFindings {
  readonly findings: readonly Finding[];
  readonly key: SigningKey | null;
}

/** Looks at the signing key. */
export async function checkSigningKey(config: Config): Promise<KeyFindings> {
  const inline = config.signingKeys.signingKey;
  const path = config.signingKeyPath;
  if (inline !== null) return judge(inline, { place: '"signing_key"', mode: null });
  try {
    const { mode } = await Deno.stat(path);
    return judge(await Deno.readTextFile(path), { place: path, mode });
  } catch (error) {
    const message = `${path} cannot be read: ${reasonText(error)}`;
    const advice = error instanceof Deno.errors.NotFound
      ? "it is made at the first start; if the server has run before, bring the old key back from a backup"
      : "give the file to the user that the server runs as, mode 0640";
    const isNew = error instanceof Deno.errors.NotFound;
    return { findings: [(isNew ? warn : fail)("signing key", { message, advice })], key: null };
  }
}

function judge(text: string, { place, mode }: { place: string; mode: number | null }): KeyFindings {
  const [key] = parseSigningKeys(text) ?? [];
  if (key === undefined) {
    const advice =
      "bring it back from a backup, or make a new one by generate-signing-key and name the old one in old_signing_keys";
    return { findings: [fail("signing key", { message: `${place} is not a signing key`, advice })], key: null };
  }
  if (mode !== null && (mode & 0o007) !== 0) {
    const message = `${place} can be read by everybody on this machine`;
    return { findings: [warn("signing key", { message, advice: `chmod 0640 ${place}` })], key };
  }
  return { findings: [ok("signing key", `${key.keyId} in ${place}`)], key };
}

/** Looks at secrets. */
export function checkSecrets({ api, registration }: Config): Finding[] {
  const secrets: readonly (readonly [string, string | null, boolean])[] = [
    ["registration_shared_secret", registration.registrationSharedSecret, false],
    ["macaroon_secret_key", api.macaroonSecretKey, false],
    ["form_secret", api.formSecret, false],
  ];
  const weak = secrets.filter(([, value]) => value !== null && value.length < MIN_SECRET_LENGTH).map(([name]) => name);
  if (weak.length === 0) return [ok("secrets", "long enough, where they are set")];
  return [warn("secrets", {
    message: `${weak.join(", ")} can be guessed: shorter than ${MIN_SECRET_LENGTH} characters`,
    advice: "generate-config makes good ones",
  })];
}
