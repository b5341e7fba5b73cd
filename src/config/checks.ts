/** Rules that concern several options, or the meaning of one beyond its type. */
import { parseDsn } from "../lib/sentry.ts";
import { parseServerName } from "../protocol/ids.ts";
import { getRoomVersion, listRoomVersions } from "../protocol/room_versions.ts";
import type { SectionValues } from "./config.ts";
import { checkMas } from "./mas.ts";
import type { Report } from "./schema.ts";
import { checkSso } from "./sso_checks.ts";

/** Leaves room for a localpart in ids of at most 255 bytes. */
const MAX_SERVER_NAME_BYTES = 230;

/** Reports what contradicts itself or could not work. */
export function checkConfig(values: SectionValues, report: Report): void {
  checkServer(values, report);
  checkRegistration(values, report);
  checkVerification(values, report);
  checkValidity(values, report);
  checkListeners(values, report);
  checkMedia(values, report);
  checkReports(values, report);
  checkWorker(values, report);
  checkMas(values, report);
  checkRetention(values, report);
  checkSso(values, report);
  if (values.email.email !== null && values.email.email.notifFrom === null) {
    report.problem(["email", "notif_from"], "is missing; mails need a sender");
  }
  if (Object.keys(values.database.databases).length > 0) {
    report.problem(["databases"], 'cannot be used; name one database in "database"');
  }
}

/** Says what is wrong with a server name, or returns null. */
export function explainServerName(name: string): string | null {
  if (name === "") return "it is empty";
  if (new TextEncoder().encode(name).length > MAX_SERVER_NAME_BYTES) return "it is longer than 230 bytes";
  if (parseServerName(name) !== null) return null;
  if (name.includes("://")) return 'it is a URL; leave out "https://" and everything after the host name';
  if (name.includes("/")) return "it has a slash";
  if (name.includes("@")) return 'it has an "@"; give the domain only';
  if (/\s/.test(name)) return "it has a space";
  return "it may only be letters, digits, dots and hyphens, or an IP address, then perhaps a colon and a port";
}

function checkServer({ server }: SectionValues, report: Report): void {
  const wrong = explainServerName(server.serverName);
  if (wrong !== null) report.problem(["server_name"], `is not a valid server name: ${wrong}`);
  if (server.publicBaseurl !== null && !/^https?:\/\/./i.test(server.publicBaseurl)) {
    report.problem(["public_baseurl"], 'must start with "https://" or "http://"');
  }
  const { defaultUserType, extraUserTypes } = server.userTypes;
  if (defaultUserType !== null && !["bot", "support", ...extraUserTypes].includes(defaultUserType)) {
    report.problem(["user_types", "default_user_type"], 'must be "bot", "support" or one of "extra_user_types"');
  }
  if (getRoomVersion(server.defaultRoomVersion) === null) {
    const known = listRoomVersions().map(({ id }) => id).join(", ");
    report.problem(["default_room_version"], `is not a known room version; known are ${known}`);
  }
}

function checkRegistration({ registration, captcha }: SectionValues, report: Report): void {
  const verified = captcha.enableRegistrationCaptcha || registration.registrationsRequire3pid.length > 0 ||
    registration.registrationRequiresToken;
  if (registration.enableRegistration && !verified && !registration.enableRegistrationWithoutVerification) {
    report.problem(
      ["enable_registration"],
      'lets anyone register without verification, which invites abuse; ask for a captcha, e-mail or token, or set "enable_registration_without_verification: true"',
    );
  }
  for (const [i, alias] of registration.autoJoinRooms.entries()) {
    if (!/^#[^:]*:./.test(alias)) {
      report.problem(["auto_join_rooms", i], 'must be a room alias such as "#room:example.org"');
    }
  }
}

function checkVerification({ registration, captcha, email, rooms, api }: SectionValues, report: Report): void {
  const needed = registration.registrationsRequire3pid;
  const { accountThreepidDelegates: { msisdn: delegate }, disableMsisdnRegistration } = registration;
  if (needed.includes("msisdn") && delegate === null && !disableMsisdnRegistration) {
    report.problem(
      ["registrations_require_3pid"],
      'asks for phone numbers, which needs "account_threepid_delegates.msisdn" to be set',
    );
  }
  if (delegate !== null && !/^https?:$/.test(URL.parse(delegate)?.protocol ?? "")) {
    report.problem(
      ["account_threepid_delegates", "msisdn"],
      "must be the address of an identity server, with http:// or https://",
    );
  }
  if (needed.includes("email") && email.email === null) {
    report.problem(["registrations_require_3pid"], 'asks for e-mail addresses, which needs "email" to be set');
  }
  if (captcha.enableRegistrationCaptcha && (!captcha.recaptchaPublicKey || !captcha.recaptchaPrivateKey)) {
    report.problem(
      ["enable_registration_captcha"],
      'needs "recaptcha_public_key" and "recaptcha_private_key" to be set',
    );
  }
  const consent = rooms.userConsent;
  if (consent === null) return;
  if (api.formSecret === null) report.problem(["user_consent"], 'needs "form_secret" to be set');
  if (consent.templateDir === null) report.problem(["user_consent", "template_dir"], "is missing");
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(String(consent.version ?? ""))) {
    report.problem(["user_consent", "version"], 'must be set, and of letters, digits, ".", "_" and "-" only');
  }
  if (consent.serverNoticeContent !== null && rooms.serverNotices === null) {
    report.problem(["user_consent", "server_notice_content"], 'needs "server_notices" to be set');
  }
}

function checkValidity({ registration: { accountValidity }, email }: SectionValues, report: Report): void {
  if (!accountValidity.enabled) return;
  if (accountValidity.period === null) report.problem(["account_validity", "period"], "is missing");
  if (accountValidity.renewAt !== null && email.email === null) {
    report.problem(["account_validity", "renew_at"], 'needs "email" to be set');
  }
}

function checkListeners({ listeners, tls }: SectionValues, report: Report): void {
  const needsTls = listeners.listeners.findIndex((listener) => listener.tls);
  if (tls.acme.enabled && needsTls < 0) {
    report.problem(["acme", "enabled"], 'needs a listener with "tls: true", which uses the certificate');
  }
  if (needsTls >= 0 && !tls.acme.enabled && (tls.tlsCertificatePath === null || tls.tlsPrivateKeyPath === null)) {
    report.problem(
      ["listeners", needsTls, "tls"],
      'needs "tls_certificate_path" and "tls_private_key_path" to be set',
    );
  }
}

function checkRetention({ blocking: { retention } }: SectionValues, report: Report): void {
  const { defaultPolicy: { minLifetime, maxLifetime }, allowedLifetimeMin, allowedLifetimeMax, purgeJobs } = retention;
  const isMore = (least: number | null, most: number | null) => least !== null && most !== null && least > most;
  if (isMore(minLifetime, maxLifetime)) {
    report.problem(["retention", "default_policy", "min_lifetime"], 'cannot be greater than "max_lifetime"');
  }
  if (isMore(allowedLifetimeMin, allowedLifetimeMax)) {
    report.problem(["retention", "allowed_lifetime_min"], 'cannot be greater than "allowed_lifetime_max"');
  }
  for (const [i, { shortestMaxLifetime, longestMaxLifetime }] of purgeJobs.entries()) {
    if (!isMore(shortestMaxLifetime, longestMaxLifetime)) continue;
    const path = ["retention", "purge_jobs", i, "shortest_max_lifetime"];
    report.problem(path, 'cannot be greater than "longest_max_lifetime"');
  }
}

function checkWorker({ workers: { workerApp } }: SectionValues, report: Report): void {
  if (workerApp === null || workerApp === "synapse.app.homeserver") return;
  report.problem(
    ["worker_app"],
    "is that of a worker, but one process does all the work here: start the server with the main configuration only",
  );
}

function checkReports({ metrics: { sentry, opentracing } }: SectionValues, report: Report): void {
  if (sentry !== null && (sentry.dsn === null || parseDsn(sentry.dsn) === null)) {
    report.problem(["sentry", "dsn"], 'must be set, as "https://KEY@HOST/PROJECT"');
  }
  if (opentracing.enabled && !/^https?:\/\/./i.test(opentracing.otlpEndpoint)) {
    report.problem(["opentracing", "otlp_endpoint"], 'must start with "https://" or "http://"');
  }
}

function checkMedia({ media }: SectionValues, report: Report): void {
  if (media.urlPreviewEnabled && media.urlPreviewIpRangeBlacklist === null) {
    report.problem(
      ["url_preview_enabled"],
      'needs "url_preview_ip_range_blacklist", so that previews cannot reach private networks',
    );
  }
}
