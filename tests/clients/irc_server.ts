/** As much of an IRC server as a bridge needs to enter a channel and talk there. */
import { createServer, type Server, type Socket } from "node:net";

const NAME = "irc.test";

/** Lets one client log in and join channels, and remembers what it says. */
export class IrcServer implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  #socket: Socket | null = null;
  #nick = "";
  #heard: string[] = [];
  #wake: () => void = () => {};

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** Starts on a free port of the loopback address. */
  static async start(): Promise<IrcServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const irc = new IrcServer(server, typeof address === "object" && address !== null ? address.port : 0);
    server.on("connection", (socket) => irc.#serve(socket));
    return irc;
  }

  /** Somebody of the channel says something. */
  say(nick: string, { channel, text }: { channel: string; text: string }): void {
    this.#socket?.write(`:${nick}!user@host PRIVMSG ${channel} :${text}\r\n`);
  }

  /** Resolves once the client has sent a line that the pattern fits; rejects after 30 s. */
  async hears(pattern: RegExp): Promise<void> {
    const end = performance.now() + 30_000;
    while (!this.#heard.some((line) => pattern.test(line))) {
      const left = end - performance.now();
      if (left <= 0) throw new Error(`no ${pattern} in:\n${this.#heard.join("\n")}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.#socket = socket;
    let rest = "";
    socket.setEncoding("utf8").on("error", () => {}).on("data", (text: string) => {
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) this.#answer(line);
      this.#heard.push(...lines);
      this.#wake();
    });
  }

  #answer(line: string): void {
    const [command = "", first = "", ...others] = line.split(" ");
    const send = (text: string) => this.#socket?.write(`:${NAME} ${text}\r\n`);
    if (command === "NICK") this.#nick = first;
    if (command === "CAP" && first === "LS") send("CAP * LS :");
    if (command === "USER") {
      send(`001 ${this.#nick} :Welcome`);
      send(`005 ${this.#nick} CHANTYPES=# PREFIX=(ov)@+ NETWORK=test :are supported by this server`);
      send(`422 ${this.#nick} :No message of the day`);
    }
    if (command === "PING") send(`PONG ${NAME} ${[first, ...others].join(" ")}`);
    if (command === "JOIN") {
      this.#socket?.write(`:${this.#nick}!user@host JOIN ${first}\r\n`);
      send(`353 ${this.#nick} = ${first} :${this.#nick} dora`);
      send(`366 ${this.#nick} ${first} :End of names`);
    }
  }
}
