/**
 * Sending mail by SMTP, with Synapse's options under `email`.
 *
 * Each mail has a connection of its own and bounds on every step, so that a mail server that is down, mute or slow costs a
 * request some seconds and then an answer that says so.
 */
import { randomUUID } from "node:crypto";
import { isIP } from "node:net";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { Tally } from "../lib/tally.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { Templates, TemplateVars } from "./templates.ts";

/** The option `email`, as far as it says how to send. */
export interface MailOptions {
  readonly smtpHost: string;
  /** Null for the usual port: 465 with `forceTls`, else 25. */
  readonly smtpPort: number | null;
  readonly smtpUser: string | null;
  readonly smtpPass: string | null;
  /** TLS from the first byte. */
  readonly forceTls: boolean;
  /** Refuse to send without TLS. */
  readonly requireTransportSecurity: boolean;
  /** Use STARTTLS where the server offers it. */
  readonly enableTls: boolean;
  /** The name that the server's certificate must have. */
  readonly tlsname: string | null;
  /** May hold `%(app)s`. */
  readonly notifFrom: string;
  readonly appName: string;
}

/** What the service is built from. */
export interface MailerDeps {
  readonly options: MailOptions;
  readonly serverName: string;
  readonly templates: Templates;
  readonly log: Logger;
  /** Authorities trusted in place of the system's, in PEM. */
  readonly trusted: string | null;
  /** Bounds one step of talking to the mail server, in milliseconds. */
  readonly timeoutMs?: number;
}

/** A mail to send. */
export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** The name of its templates, without `.html` and `.txt`. */
  readonly template: string;
  readonly vars: TemplateVars;
  /** Where its reader can end mails of this kind with one click (RFC 8058). */
  readonly unsubscribeUrl?: string;
}

const STEP_TIMEOUT_MS = 10_000;
const DEFAULT_PORT = 25;
const DEFAULT_TLS_PORT = 465;

/** Sends mails. */
export class Mailer {
  readonly #deps: MailerDeps;
  /** Mails that a mail server took. */
  readonly sent = new Tally("type");

  constructor(deps: MailerDeps) {
    this.#deps = deps;
  }

  /** Puts values into a text of the configuration such as `email.subjects`: `%(app)s`, `%(server_name)s` and the like. */
  fill(text: string, values: Readonly<Record<string, string>> = {}): string {
    const { serverName, options } = this.#deps;
    const all: Readonly<Record<string, string>> = { app: options.appName, server_name: serverName, ...values };
    return text.replace(/%\(([a-z_]+)\)s/g, (whole, name: string) => all[name] ?? whole);
  }

  /** Sends a mail. Throws 500 with a sentence for the user when the mail server does not take it. */
  async send(mail: Mail): Promise<void> {
    const { templates, options, log } = this.#deps;
    const vars = { app_name: options.appName, ...mail.vars };
    const [html, text] = await Promise.all([
      templates.render(`${mail.template}.html`, vars),
      templates.render(`${mail.template}.txt`, vars),
    ]);
    try {
      await this.#deliver(mail, { html, text });
      this.sent.add([mail.template]);
      log.info("Sent a mail", { kind: mail.template });
    } catch (error) {
      log.error("A mail could not be sent", {
        kind: mail.template,
        server: `${options.smtpHost}:${this.#port()}`,
        error: describeError(error),
      });
      throw new MatrixError(500, "M_UNKNOWN", "The server could not send a mail to this address. Try again later");
    }
  }

  /** Connects to the mail server and logs in, without sending anything; rejects with what it says. */
  async check(): Promise<void> {
    const { createTransport } = (await import("nodemailer")).default;
    const transport = createTransport(this.#settings());
    try {
      await transport.verify();
    } finally {
      transport.close();
    }
  }

  async #deliver(mail: Mail, { html, text }: { html: string; text: string }): Promise<void> {
    const { options, serverName } = this.#deps;
    const { createTransport } = (await import("nodemailer")).default;
    const transport = createTransport(this.#settings());
    const stepMs = this.#deps.timeoutMs ?? STEP_TIMEOUT_MS;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("The mail server took too long")), stepMs * 2);
    });
    const { unsubscribeUrl } = mail;
    const sending = transport.sendMail({
      from: this.fill(options.notifFrom),
      to: { name: "", address: mail.to },
      subject: mail.subject.replace(/\s+/g, " ").slice(0, 500),
      html,
      text,
      messageId: `<${randomUUID()}@${serverName.replace(/:\d+$/, "")}>`,
      headers: {
        "Auto-Submitted": "auto-generated",
        ...(unsubscribeUrl === undefined ? {} : {
          "List-Unsubscribe": { prepared: true, value: `<${unsubscribeUrl}>` },
          "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }),
      },
    });
    try {
      await Promise.race([sending, overdue]);
    } finally {
      clearTimeout(timer);
      transport.close();
      sending.catch(() => {});
    }
  }

  #port(): number {
    const { smtpPort, forceTls } = this.#deps.options;
    return smtpPort ?? (forceTls ? DEFAULT_TLS_PORT : DEFAULT_PORT);
  }

  // deno-lint-ignore explicit-function-return-type -- what nodemailer takes
  #settings() {
    const { options, trusted } = this.#deps;
    const stepMs = this.#deps.timeoutMs ?? STEP_TIMEOUT_MS;
    const name = options.tlsname ?? options.smtpHost;
    return {
      host: options.smtpHost,
      port: this.#port(),
      secure: options.forceTls,
      ignoreTLS: !options.enableTls && !options.requireTransportSecurity,
      requireTLS: options.requireTransportSecurity,
      connectionTimeout: stepMs,
      greetingTimeout: stepMs,
      socketTimeout: stepMs,
      dnsTimeout: stepMs,
      disableFileAccess: true,
      disableUrlAccess: true,
      // An address is no name that TLS could ask for.
      tls: { ...(isIP(name) === 0 ? { servername: name } : {}), ...(trusted === null ? {} : { ca: [trusted] }) },
      ...(options.smtpUser === null ? {} : { auth: { user: options.smtpUser, pass: options.smtpPass ?? "" } }),
    };
  }
}
