/**
 * Getting a certificate from an ACME server (RFC 8555): the account, the order, its challenges. The protocol is the
 * package `acme-client`'s, loaded at the first order.
 */
import { Agent } from "node:https";
import type { AcmeChallenges, Certificate } from "./acme_challenges.ts";

/** What an order is made from. */
export interface AcmeOrder {
  /** The directory of the ACME server. */
  readonly url: string;
  readonly names: readonly string[];
  /** E-mail address that the authority may write to. */
  readonly contact: string | null;
  /** The key of the account, in PEM; makes and keeps one where there is none. */
  readonly accountKey: (make: () => Promise<string>) => Promise<string>;
  /** The authority that signed the ACME server's own certificate, in PEM, where the system does not know it. */
  readonly ca: string | null;
  readonly externalAccount: { readonly keyId: string; readonly hmacKey: string } | null;
}

const CHALLENGE = "http-01";
const ANSWER_LIMIT_MS = 30_000;
const PLACEHOLDER_LIFETIME_MS = 86_400_000;
/** The ACME server is asked after 1, 2, 4, … and then every 15 seconds whether it is through: some take minutes. */
const BACKOFF = { backoffMin: 1_000, backoffMax: 15_000, backoffAttempts: 20 };

/** Orders a certificate with a key of its own. Takes as long as the ACME server does; throws what it says. */
export async function orderCertificate(order: AcmeOrder, challenges: AcmeChallenges): Promise<Certificate> {
  const acme = await import("acme-client");
  acme.axios.defaults.timeout = ANSWER_LIMIT_MS;
  if (order.ca !== null) acme.axios.defaults.httpsAgent = new Agent({ ca: order.ca });
  const accountKey = await order.accountKey(async () => (await acme.crypto.createPrivateEcdsaKey()).toString());
  const { externalAccount } = order;
  const client = new acme.Client({
    directoryUrl: order.url,
    accountKey,
    ...BACKOFF,
    ...(externalAccount === null
      ? {}
      : { externalAccountBinding: { kid: externalAccount.keyId, hmacKey: externalAccount.hmacKey } }),
  });
  const [key, csr] = await acme.crypto.createCsr(
    { altNames: [...order.names] },
    await acme.crypto.createPrivateEcdsaKey(),
  );
  const cert = await client.auto({
    csr,
    ...(order.contact === null ? {} : { email: order.contact.replace(/^mailto:/i, "") }),
    termsOfServiceAgreed: true,
    // The ACME server sees this server from outside, which this machine often cannot.
    skipChallengeVerification: true,
    challengePriority: [CHALLENGE],
    challengeCreateFn: ({ identifier }, { type, token }, answer) => {
      if (type !== CHALLENGE) throw new Error(`The ACME server offers no ${CHALLENGE} for ${identifier.value}`);
      challenges.add(token, answer);
      return Promise.resolve();
    },
    challengeRemoveFn: (_, { token }) => Promise.resolve(challenges.remove(token)),
  });
  return { cert, key: key.toString() };
}

/** Makes a certificate that nobody trusts, for listeners to begin with while the first one is ordered. */
export async function makePlaceholder(name: string, now: Date): Promise<Certificate> {
  const { PemConverter, SubjectAlternativeNameExtension, X509CertificateGenerator } = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    notBefore: now,
    notAfter: new Date(now.getTime() + PLACEHOLDER_LIFETIME_MS),
    extensions: [new SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
  });
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: certificate.toString("pem"), key: PemConverter.encode(key, "PRIVATE KEY") };
}
