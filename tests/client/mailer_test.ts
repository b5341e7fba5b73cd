/** Mail servers of all kinds: with TLS, without, with a login, and those that do not take mail. */
import assert from "node:assert/strict";
import { CA_PATH, makeCertificate } from "../federation/certificates.ts";
import type { Json } from "../harness/client.ts";
import { createTestDatabase } from "../harness/databases.ts";
import { TestServer } from "../harness/server.ts";
import { SmtpSink } from "../harness/smtp.ts";

const REQUEST = { email: "bob@example.org", client_secret: "s", send_attempt: 1 };

/** Asks a homeserver with these options for a mail. */
async function ask(config: Json): Promise<{ status: number; body: Json }> {
  await using database = await createTestDatabase("sqlite");
  await using hs = await TestServer.start({ database, config });
  return await hs.anyone.request("POST", "/register/email/requestToken", { body: REQUEST });
}

async function refused(config: Json): Promise<void> {
  const { status, body } = await ask(config);
  assert.deepEqual([status, body.errcode], [500, "M_UNKNOWN"]);
  assert.match(body.error, /could not send a mail/);
}

Deno.test("mails go by STARTTLS where the server offers it, with a login", async () => {
  const tls = await makeCertificate("DNS:localhost");
  const login = { user: "matrix", pass: "päss" };
  await using mails = await SmtpSink.start({ tls, login });
  const email = { smtp_user: "matrix", smtp_pass: "päss", require_transport_security: true, smtp_ca_file: CA_PATH };
  assert.equal((await ask(mails.config(email))).status, 200);
  const mail = await mails.mail(0);
  assert.deepEqual([mail.isSecure, mail.user], [true, "matrix"]);
  await refused(mails.config({ ...email, smtp_pass: "wrong" }));
  assert.equal(mails.mails.length, 1);
});

Deno.test("mails go by TLS from the first byte with force_tls", async () => {
  const tls = await makeCertificate("DNS:mail.test");
  await using mails = await SmtpSink.start({ tls, secure: true });
  const email = { force_tls: true, tlsname: "mail.test", smtp_ca_file: CA_PATH };
  assert.equal((await ask(mails.config(email))).status, 200);
  assert.equal((await mails.mail(0)).isSecure, true);
});

Deno.test("a certificate of another name or authority is refused, and enable_tls: false does without", async () => {
  const tls = await makeCertificate("DNS:mail.test");
  await using mails = await SmtpSink.start({ tls });
  await refused(mails.config({ smtp_ca_file: CA_PATH }));
  await refused(mails.config({ tlsname: "mail.test" }));
  assert.equal(mails.mails.length, 0);
  assert.equal((await ask(mails.config({ tlsname: "mail.test", smtp_ca_file: CA_PATH }))).status, 200);
  assert.equal((await ask(mails.config({ enable_tls: false }))).status, 200);
  assert.deepEqual(mails.mails.map(({ isSecure }) => isSecure), [true, false]);
});

Deno.test("require_transport_security sends nothing in the clear", async () => {
  await using mails = await SmtpSink.start();
  await refused(mails.config({ require_transport_security: true }));
  assert.equal(mails.mails.length, 0);
});

Deno.test("a server that refuses the recipient, is mute or not there costs seconds and is told of", async () => {
  await using mails = await SmtpSink.start({ refuses: true });
  await refused(mails.config());
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = mute.addr as Deno.NetAddr;
  await refused(mails.config({ smtp_port: port }));
  mute.close();
  await refused(mails.config({ smtp_port: port }));
});

Deno.test("templates of the operator take the place of the built-in ones", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/registration.txt`, "{{ app_name }}: {{ link }} {% include 'foot.txt' %}");
    await Deno.writeTextFile(`${folder}/foot.txt`, "by {{ server_name|upper }}");
    await Deno.writeTextFile(`${folder}/registration.html`, "<b>{{ link }}</b> {{ app_name }}");
    await using mails = await SmtpSink.start();
    const config = { ...mails.config({ app_name: "Us & them" }), templates: { custom_template_directory: folder } };
    assert.equal((await ask(config)).status, 200);
    const { text, headers } = await mails.mail(0);
    assert.match(text, /Us & them: https:\/\/hs\.test\/_matrix\S+ by HS\.TEST/);
    // HTML is escaped, text is not.
    assert.match(text, /<b>https:\/\/hs\.test\/[^<]*&amp;[^<]*<\/b> Us &amp; them/);
    assert.match(headers, /From: "?Us & them"? <noreply@hs\.test>/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
