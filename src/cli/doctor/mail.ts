/** The mail server: whether it lets this server in. */
import type { Config } from "../../config/config.ts";
import { openMail } from "../../server/mail.ts";
import { fail, type Finding, ok, reasonText } from "./finding.ts";

/** Connects to the mail server and logs in. Nothing is sent. */
export async function checkMail(config: Config): Promise<Finding[]> {
  const { email } = config.email;
  if (email === null) return [];
  const port = email.smtpPort ?? (email.forceTls ? 465 : 25);
  const place = `${email.smtpHost} port ${port}`;
  try {
    const mail = await openMail(config);
    await mail?.mailer?.check();
    const how = email.smtpUser === null ? "without a login" : `as ${email.smtpUser}`;
    return [ok("mail", `${place} lets the server in ${how}`)];
  } catch (error) {
    const message = `${place}: ${reasonText(error)}`;
    return [fail("mail", { message, advice: adviceFor(message) })];
  }
}

function adviceFor(message: string): string {
  if (/invalid login|535|credentials|wrong login|authentication/i.test(message)) {
    return "correct email.smtp_user and email.smtp_pass";
  }
  if (/certificate|altname|self.signed|issuer/i.test(message)) {
    return "the certificate must be for email.smtp_host (or email.tlsname) and of an authority that is trusted (email.smtp_ca_file)";
  }
  if (/starttls|tls/i.test(message)) {
    return "port 465 needs force_tls: true; port 587 and 25 need it off; require_transport_security needs STARTTLS there";
  }
  return "check email.smtp_host and email.smtp_port, and that the provider lets mail out (port 25 is often closed: use 587)";
}
