/**
 * The option `experimental_features`: switches of proposals that are no part of the specification yet.
 *
 * Wild configurations carry switches of proposals long merged, so unknown ones are accepted without a word.
 */
import { type About, anything, mapped, option, record, type Schema, works } from "./schema.ts";

/** The switches of Synapse 1.157, which are accepted. Sorted. */
export const EXPERIMENTAL_FEATURES: readonly string[] = [
  "msc1763_enabled",
  "msc1767_enabled",
  "msc2409_to_device_messages_enabled",
  "msc2654_enabled",
  "msc2815_enabled",
  "msc3026_enabled",
  "msc3202_transaction_extensions",
  "msc3381_polls_enabled",
  "msc3391_enabled",
  "msc3575_enabled",
  "msc3664_enabled",
  "msc3720_enabled",
  "msc3773_enabled",
  "msc3814_enabled",
  "msc3848_enabled",
  "msc3866",
  "msc3874_enabled",
  "msc3881_enabled",
  "msc3890_enabled",
  "msc3912_enabled",
  "msc3983_appservice_otk_claims",
  "msc3984_appservice_key_query",
  "msc4028_push_encrypted_events",
  "msc4069_profile_inhibit_propagation",
  "msc4076_enabled",
  "msc4108_delegation_endpoint",
  "msc4108_enabled",
  "msc4133_enabled",
  "msc4140_max_delayed_events_per_user",
  "msc4143_enabled",
  "msc4155_enabled",
  "msc4169_enabled",
  "msc4210_enabled",
  "msc4222_enabled",
  "msc4235_enabled",
  "msc4242_enabled",
  "msc4263_limit_key_queries_to_users_who_share_rooms",
  "msc4267_enabled",
  "msc4277_enabled",
  "msc4293_enabled",
  "msc4306_enabled",
  "msc4354_enabled",
  "msc4370_enabled",
  "msc4388_mode",
  "msc4446_enabled",
  "msc4450_enabled",
  "msc4452_enabled",
  "msc4491_enabled",
];

/** Switches of proposals, as the operator wrote them. */
export interface ExperimentalConfig {
  readonly features: Readonly<Record<string, unknown>>;
  /** Whether a switch is `true`, or not set and on by default in Synapse. */
  isEnabled(feature: string): boolean;
}

const ON_BY_DEFAULT: ReadonlySet<string> = new Set(["msc3575_enabled"]);

const features: Schema<ExperimentalConfig> = mapped(record(anything), (given) => ({
  features: given,
  isEnabled: (feature) => given[feature] === true || (given[feature] === undefined && ON_BY_DEFAULT.has(feature)),
}));

const SWITCHES: About = works(
  "Switches of proposals. These are obeyed: `msc1763_enabled`, `msc2836_enabled`, `msc3575_enabled`, `msc3866`, " +
    "`msc3881_enabled`, `msc3912_enabled`, `msc4108_enabled`, `msc4210_enabled`, `msc4306_enabled`, " +
    "`msc4354_enabled`, `msc4388_mode`. What else this server supports it always offers; unknown ones are ignored, as " +
    "in Synapse.",
);

/** The table of the section. */
export const EXPERIMENTAL_OPTIONS = {
  experimental_features: option(features, {}, SWITCHES),
};
