/**
 * `saml2_config`. What is below `sp_config` are the settings of pysaml2, the library of Synapse; those that matter to a
 * service provider work here, those about its own workings have no effect, and others are refused.
 * https://pysaml2.readthedocs.io/en/latest/howto/config.html
 */
import { z } from "zod";
import type { SectionValues } from "./config.ts";
import type { Report } from "./schema.ts";

/** How the server is known to identity providers. */
export interface SpConfig {
  /** Null for the address of its metadata. */
  readonly entityId: string | null;
  /** Where people come back; null for the usual address. */
  readonly acsUrl: string | null;
  readonly metadata: {
    readonly local: readonly string[];
    /** `cert` is a file with the certificate that signs the document. */
    readonly remote: readonly { readonly url: string; readonly cert: string | null }[];
    readonly inline: readonly string[];
  };
  /** Whether identity providers may send people who did not ask to log in. */
  readonly allowUnsolicited: boolean;
  readonly wantResponseSigned: boolean;
  readonly wantAssertionsSigned: boolean;
  readonly forceAuthn: boolean;
  readonly nameIdFormat: string | null;
  readonly authnContext: readonly string[];
  readonly providerName: string | null;
  /** Signs requests; null where they are not signed. */
  readonly signingKeyFile: string | null;
  readonly certFile: string | null;
  readonly encryptionKeyFile: string | null;
  readonly encryptionCertFile: string | null;
  /** How far clocks may differ, in milliseconds. */
  readonly acceptedSkewMs: number;
}

const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);
const oneOrMore = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
/** What is about how pysaml2 works, or is in metadata only and read by nobody who must. */
const IGNORED = [
  ...["xmlsec_binary", "debug", "crypto_backend", "delete_tmpfiles", "logging", "logger", "valid_for", "secret"],
  ...["attribute_map_dir", "allow_unknown_attributes", "description", "name", "organization", "contact_person"],
  ...["ca_certs", "disable_ssl_certificate_validation", "http_client_timeout", "verify_ssl_cert", "preferred_binding"],
  ...["additional_cert_files", "id_attr_name", "id_attr_name_crypto", "metadata_key_usage", "virtual_organization"],
];
const SP_IGNORED = [
  ...["name_id_format_allow_create", "required_attributes", "optional_attributes", "description", "ui_info"],
  ...["logout_requests_signed", "logout_responses_signed", "requested_attributes", "requested_attribute_name_format"],
  ...["entity_category", "entity_category_support", "only_use_keys_in_metadata", "hide_assertion_consumer_service"],
];
const ignored = (names: readonly string[]) =>
  Object.fromEntries(names.map((name): [string, z.ZodType] => [name, z.unknown().optional()]));
const Endpoint = z.union([z.string(), z.tuple([z.string(), z.string()])]);
const Sp = z.strictObject({
  ...ignored(SP_IGNORED),
  name: z.string().optional(),
  allow_unsolicited: flag.optional(),
  authn_requests_signed: flag.optional(),
  want_response_signed: flag.optional(),
  want_assertions_signed: flag.optional(),
  want_assertions_or_response_signed: flag.optional(),
  force_authn: flag.optional(),
  name_id_format: oneOrMore.optional(),
  name_id_policy_format: z.string().optional(),
  requested_authn_context: z.looseObject({ authn_context_class_ref: oneOrMore }).optional(),
  endpoints: z.strictObject({
    assertion_consumer_service: z.array(Endpoint).optional(),
    single_logout_service: z.unknown().optional(),
  }).optional(),
});
const Config = z.strictObject({
  ...ignored(IGNORED),
  entityid: z.string().optional(),
  metadata: z.strictObject({
    local: oneOrMore.optional(),
    inline: oneOrMore.optional(),
    remote: z.array(z.looseObject({ url: z.string(), cert: z.string().nullish() })).optional(),
  }).optional(),
  service: z.strictObject({ sp: Sp.optional() }).optional(),
  key_file: z.string().nullish(),
  cert_file: z.string().nullish(),
  encryption_keypairs: z.array(z.looseObject({ key_file: z.string(), cert_file: z.string().nullish() })).max(1)
    .optional(),
  accepted_time_diff: z.number().min(0).max(3_600).optional(),
});

/** What is wrong with a setting. */
export interface SpProblem {
  readonly path: readonly (string | number)[];
  readonly problem: string;
}

/** Reads `sp_config`, or tells what is wrong with it. */
export function readSpConfig(raw: unknown): SpConfig | readonly SpProblem[] {
  const parsed = Config.safeParse(raw ?? {});
  if (!parsed.success) {
    return parsed.error.issues.map((issue) => ({
      path: issue.path.map((part) => typeof part === "number" ? part : String(part)),
      problem: issue.code === "unrecognized_keys"
        ? `has settings that this server does not know: ${issue.keys.join(", ")}`
        : `does not have the form that pysaml2 wants: ${issue.message}`,
    }));
  }
  const { metadata = {}, service, encryption_keypairs: [pair] = [], ...config } = parsed.data;
  const sp = service?.sp ?? {};
  const endpoint = sp.endpoints?.assertion_consumer_service?.[0];
  const either = sp.want_assertions_or_response_signed === true;
  return {
    entityId: config.entityid ?? null,
    acsUrl: (typeof endpoint === "string" ? endpoint : endpoint?.[0]) ?? null,
    metadata: {
      local: metadata.local ?? [],
      remote: (metadata.remote ?? []).map(({ url, cert }) => ({ url, cert: cert ?? null })),
      inline: metadata.inline ?? [],
    },
    allowUnsolicited: sp.allow_unsolicited === true,
    // As pysaml2 has it: the response must be signed unless the operator says otherwise. One signature there always is.
    wantResponseSigned: !either && sp.want_response_signed !== false,
    wantAssertionsSigned: !either && sp.want_assertions_signed === true,
    forceAuthn: sp.force_authn === true,
    nameIdFormat: sp.name_id_policy_format ?? sp.name_id_format?.[0] ?? null,
    authnContext: sp.requested_authn_context?.authn_context_class_ref ?? [],
    providerName: sp.name ?? null,
    signingKeyFile: sp.authn_requests_signed === true ? config.key_file ?? null : null,
    certFile: config.cert_file ?? null,
    encryptionKeyFile: pair?.key_file ?? null,
    encryptionCertFile: pair?.cert_file ?? null,
    acceptedSkewMs: (config.accepted_time_diff ?? 0) * 1_000,
  };
}

/** What Synapse calls the rules that are built in here. */
const BUILT_IN_MAPPINGS: readonly (string | null)[] = [
  null,
  "synapse.handlers.saml.DefaultSamlMappingProvider",
  "synapse.handlers.saml_handler.DefaultSamlMappingProvider",
];

/** Reports what contradicts itself or could not work. */
export function checkSaml({ sso: { saml2Config } }: SectionValues, report: Report): void {
  if (saml2Config === null || !saml2Config.enabled) return;
  const { configPath, spConfig, userMappingProvider: { module, config } } = saml2Config;
  if (configPath !== null) {
    report.problem(["saml2_config", "config_path"], "is a Python file; put what it says below sp_config");
  }
  if (spConfig === null) return;
  if (!BUILT_IN_MAPPINGS.includes(module)) {
    const path = ["saml2_config", "user_mapping_provider", "module"];
    report.problem(path, "is a Python module, and this server has no Python");
  }
  const mapping = config.mxid_mapping ?? saml2Config.mxidMapping ?? "hexencode";
  if (mapping !== "hexencode" && mapping !== "dotreplace") {
    report.problem(
      ["saml2_config", "user_mapping_provider", "config", "mxid_mapping"],
      "must be hexencode or dotreplace",
    );
  }
  const read = readSpConfig(spConfig);
  if (!("metadata" in read)) {
    for (const { path, problem } of read) report.problem(["saml2_config", "sp_config", ...path], problem);
    return;
  }
  const { local, remote, inline } = read.metadata;
  if (local.length + remote.length + inline.length === 0) {
    report.problem(["saml2_config", "sp_config", "metadata"], "must name the identity provider's metadata");
  }
  for (const [i, { url }] of remote.entries()) {
    if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
      report.problem(["saml2_config", "sp_config", "metadata", "remote", i, "url"], "must be an address");
    }
  }
}
