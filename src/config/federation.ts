/** Options of the manual's sections "TLS" and "Federation". */
import { boolean, duration, integer, list, nullable, number, object, oneOf, option, string, works } from "./schema.ts";
import { serverName } from "./values.ts";

/** The table of the section "TLS". */
export const TLS_OPTIONS = {
  tls_certificate_path: option(nullable(string), null, works("Certificate chain of the listeners with `tls`.")),
  tls_private_key_path: option(nullable(string), null, works("Private key of the certificate.")),
  federation_verify_certificates: option(boolean, true, works("Check the certificates of other servers.")),
  federation_client_minimum_tls_version: option(
    oneOf(["1", "1.1", "1.2", "1.3", 1, 1.1, 1.2, 1.3]),
    "1",
    works("The oldest TLS version towards other servers; less than 1.2 means 1.2 here."),
  ),
  federation_certificate_verification_whitelist: option(
    list(string),
    [],
    works("Servers whose certificates are not checked."),
  ),
  federation_custom_ca_list: option(list(string), [], works("Files with the authorities to trust.")),
};

const FEDERATION = {
  client_timeout: option(duration, "60s"),
  max_short_retry_delay: option(duration, "2s"),
  max_long_retry_delay: option(duration, "60s"),
  max_short_retries: option(integer(), 3),
  max_long_retries: option(integer(), 10),
  destination_min_retry_interval: option(duration, "10m"),
  destination_retry_multiplier: option(number, 2),
  destination_max_retry_interval: option(duration, "1w"),
};

/** The table of the section "Federation". */
export const FEDERATION_OPTIONS = {
  federation_domain_whitelist: option(
    nullable(list(serverName)),
    null,
    works("The only servers to talk to; unset is all, an empty list is none."),
  ),
  federation_whitelist_endpoint_enabled: option(boolean, false, works("Show that list to users.")),
  federation_metrics_domains: option(
    list(serverName),
    [],
    works("Servers whose last event, sent and received, has a metric of its own."),
  ),
  allow_profile_lookup_over_federation: option(boolean, true, works("Show profiles to other servers.")),
  allow_device_name_lookup_over_federation: option(boolean, false, works("Show names of devices to other servers.")),
  federation: option(object(FEDERATION), {}, works("Timeouts and retries of requests to other servers.")),
};
