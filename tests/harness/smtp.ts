/** A real mail server that keeps what it gets. */
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

/** A mail as it arrived. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly headers: string;
  /** The whole message with its parts decoded. */
  readonly text: string;
  readonly isSecure: boolean;
  readonly user: string | null;
}

/** How the server behaves. */
export interface SmtpOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** TLS from the first byte. */
  readonly secure?: boolean;
  /** Asks for this login. */
  readonly login?: { readonly user: string; readonly pass: string };
  /** Refuses every recipient. */
  readonly refuses?: boolean;
}

// A client that does not like the certificate ends the handshake, which Deno reports as an error of nobody.
globalThis.addEventListener("unhandledrejection", ignoreTls);
globalThis.addEventListener("error", ignoreTls);

function ignoreTls(event: PromiseRejectionEvent | ErrorEvent): void {
  const error = "reason" in event ? event.reason : event.error;
  if (/alert|handshake|certificate|tls|ssl/i.test(String(error))) event.preventDefault();
}

/** A running mail server. */
export class SmtpSink implements AsyncDisposable {
  readonly #server: SMTPServer;
  readonly mails: ReceivedMail[] = [];
  readonly #waiting: (() => void)[] = [];
  port = 0;
  /** Refuses every recipient. */
  refuses: boolean;

  private constructor(options: SmtpOptions) {
    const { tls, secure = false, login, refuses = false } = options;
    this.refuses = refuses;
    const settings: SMTPServerOptions = {
      secure,
      ...(tls === undefined ? { hideSTARTTLS: true } : tls),
      ...(login === undefined ? { authOptional: true, disabledCommands: ["AUTH"] } : {}),
      closeTimeout: 100,
      onAuth: (auth, _session, callback) => {
        const isRight = auth.username === login?.user && auth.password === login?.pass;
        callback(isRight ? null : new Error("Wrong login"), isRight ? { user: auth.username ?? "" } : undefined);
      },
      onRcptTo: (_address, _session, callback) => callback(this.refuses ? new Error("No such mailbox") : null),
      onData: (stream, session, callback) => {
        const chunks: Uint8Array[] = [];
        stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
        stream.on("end", () => {
          const { mailFrom, rcptTo } = session.envelope;
          const raw = new TextDecoder().decode(concat(chunks));
          this.mails.push({
            from: mailFrom === false ? "" : mailFrom.address,
            to: rcptTo.map(({ address }) => address),
            headers: raw.split("\r\n\r\n", 1)[0] ?? "",
            text: decodeQuotedPrintable(raw),
            isSecure: session.secure,
            user: typeof session.user === "string" ? session.user : null,
          });
          for (const wake of this.#waiting.splice(0)) wake();
          callback();
        });
      },
    };
    this.#server = new SMTPServer(settings);
    this.#server.on("error", () => {});
  }

  /** Starts one. */
  static async start(options: SmtpOptions = {}): Promise<SmtpSink> {
    const sink = new SmtpSink(options);
    await new Promise<void>((resolve) => sink.#server.listen(0, "127.0.0.1", () => resolve()));
    const address = sink.#server.server.address();
    sink.port = typeof address === "object" && address !== null ? address.port : 0;
    return sink;
  }

  /** Options of a homeserver that sends its mail here. */
  config(email: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return {
      public_baseurl: "https://hs.test/",
      email: { smtp_host: "localhost", smtp_port: this.port, notif_from: "%(app)s <noreply@hs.test>", ...email },
    };
  }

  /** Waits for the mail with this number, from 0. */
  async mail(index: number): Promise<ReceivedMail> {
    while (this.mails.length <= index) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.mails[index] as ReceivedMail;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Returns the first link of a mail's text that leads to the homeserver, as a path on it. */
export function linkIn({ text }: ReceivedMail): string {
  const match = /https:\/\/hs\.test(\/[^\s"<>]+)/.exec(text);
  if (match?.[1] === undefined) throw new Error(`There is no link in the mail: ${text}`);
  return match[1];
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

function decodeQuotedPrintable(text: string): string {
  const bytes = text.replace(/=\r\n/g, "").replace(
    /=([0-9A-F]{2})/g,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)),
  );
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0) & 0xff));
}
