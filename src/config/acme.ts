/** The option `acme`: certificates that the server gets and renews by itself. */
import { boolean, integer, list, listOrOne, nullable, object, option, secret, string, works } from "./schema.ts";

const ACME = {
  enabled: option(boolean, false),
  url: option(string, "https://acme-v02.api.letsencrypt.org/directory"),
  contact: option(nullable(string), null),
  domain: option(listOrOne(string), []),
  port: option(nullable(integer({ max: 65535 })), 80),
  bind_addresses: option(list(string), ["::", "0.0.0.0"]),
  reprovision_threshold: option(integer({ min: 1, max: 365 }), 30),
  account_key_file: option(nullable(string), null),
  ca_file: option(nullable(string), null),
  eab_key_id: option(nullable(string), null),
  eab_hmac_key: option(nullable(secret), null),
  eab_hmac_key_path: option(nullable(string), null),
};

const DOC =
  "Get the certificate of the listeners with `tls` from an ACME server such as Let's Encrypt, whose terms of " +
  "service this accepts, and renew it `reprovision_threshold` days before it ends (or when a third of its time is " +
  "left). The names follow the option that Synapse had until 1.37. `domain` is one name or several, by default the " +
  "host of `public_baseurl`. The ACME server asks on port 80 of each for a proof (HTTP-01): `port` is where this server " +
  "listens for that while it gets a certificate; `null` leaves it to the listeners with `tls: false`. (TLS-ALPN-01 is " +
  "not possible: Deno's TLS refuses to serve the certificates that it takes.) The certificate goes to " +
  "`tls_certificate_path` and `tls_private_key_path` (by default SERVER_NAME.tls.crt and .tls.key beside the " +
  "configuration). `account_key_file` holds the account (by default acme_account.key beside the configuration), " +
  "`ca_file` the authority to trust for an ACME server of your own, `eab_key_id` and `eab_hmac_key` what some authorities give " +
  "to their customers.";

/** The table of the option. */
export const ACME_OPTIONS = {
  acme: option(object(ACME), {}, works(DOC)),
};
