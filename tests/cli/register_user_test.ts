import assert from "node:assert/strict";
import { commandFolder } from "./command_line.ts";

interface Registration {
  readonly username: string;
  readonly password: string;
  readonly mac: string;
  readonly admin: boolean;
  readonly user_type: string | null;
}

/** A server that answers the registration endpoint as Synapse does; the nonce is always "abc". */
function registrationServer(): { url: string; port: number; requests: Registration[] } & AsyncDisposable {
  const requests: Registration[] = [];
  const answer = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/elsewhere/")) {
      return Response.json({ errcode: "M_UNRECOGNIZED", error: "Unrecognized request" }, { status: 404 });
    }
    assert.equal(pathname, "/_synapse/admin/v1/register");
    if (request.method === "GET") return Response.json({ nonce: "abc" });
    const body: Registration = await request.json();
    requests.push(body);
    if (body.username === "taken") {
      return Response.json({ errcode: "M_USER_IN_USE", error: "User ID already taken." }, { status: 400 });
    }
    if (body.username === "boom") return new Response("oops", { status: 500 });
    return Response.json({ user_id: `@${body.username}:example.org` });
  };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => undefined }, answer);
  const { port } = server.addr;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Macs that Synapse's register_new_matrix_user sends with secret "s", nonce "abc" and password "pw". */
const BOB_MAC = "d4e1ee2264e9839661d6947a319993bf86937bfb";
const BOT_MAC = "b7627134efefa1cce005e80b54b51c5373327834";

Deno.test("register-user sends what Synapse's script sends and says what it says", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  const given = ["-k", "s", "-p", "pw"];
  assert.deepEqual(await folder.run(["register-user", ...given, "-u", "bob", "--no-admin", server.url]), {
    code: 0,
    stdout: "Sending registration request...\nSuccess!\n",
    stderr: "",
  });
  const bot = await folder.run(["register_new_matrix_user", ...given, "-u", "boom", "-a", "-t", "bot", server.url]);
  assert.deepEqual(bot, {
    code: 1,
    stdout: "Sending registration request...\nERROR! Received 500 Internal Server Error\n",
    stderr: "",
  });
  const common = { nonce: "abc", password: "pw" };
  assert.deepEqual(server.requests, [
    { ...common, username: "bob", mac: BOB_MAC, admin: false, user_type: null },
    { ...common, username: "boom", mac: BOT_MAC, admin: true, user_type: "bot" },
  ]);
});

Deno.test("register-user tells a taken name, and passes over it with --exists-ok", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  const args = ["register-user", "-k", "s", "-u", "taken", "-p", "pw", "--no-admin"];
  assert.deepEqual(await folder.run([...args, server.url]), {
    code: 1,
    stdout: "Sending registration request...\nERROR! Received 400 Bad Request\nUser ID already taken.\n",
    stderr: "",
  });
  assert.deepEqual(await folder.run([...args, "--exists-ok", server.url]), {
    code: 0,
    stdout: "Sending registration request...\nUser already exists. Skipping.\n",
    stderr: "",
  });
});

Deno.test("register-user asks for what is missing", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  const asked = await folder.run(["register-user", "-k", "s", server.url], {
    stdin: "\npw\npw\nYES\n",
    env: { USER: "carol" },
  });
  assert.deepEqual(asked, {
    code: 0,
    stdout: "New user localpart [carol]: Make admin [no]: Sending registration request...\nSuccess!\n",
    stderr: "Password: Confirm password: ",
  });
  assert.deepEqual(server.requests.map(({ username, password, admin }) => ({ username, password, admin })), [
    { username: "carol", password: "pw", admin: true },
  ]);
  const differs = await folder.run(["register-user", "-k", "s", "-u", "x", server.url], { stdin: "pw1\npw2\n" });
  assert.deepEqual([differs.code, differs.stdout], [1, "Passwords do not match\n"]);
  const blank = await folder.run(["register-user", "-k", "s", "-u", "x", server.url], { stdin: "\n" });
  assert.deepEqual([blank.code, blank.stdout], [1, "Password cannot be blank.\n"]);
  assert.equal(server.requests.length, 1);
});

Deno.test("register-user takes secret and address from the configuration, and the password from a file", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  await folder.write("secret", "s\n");
  await folder.write("password", "pw\n");
  await folder.write(
    "hs.yaml",
    `registration_shared_secret_path: ${folder.path}/secret
listeners:
  - { port: 1, tls: true, resources: [{ names: [client] }] }
  - { port: ${server.port}, bind_addresses: [127.0.0.1], resources: [{ names: [client, federation] }] }
`,
  );
  const args = ["register-user", "-c", "hs.yaml", "-u", "bob", "--password-file", "password", "--no-admin"];
  assert.deepEqual(await folder.run(args), {
    code: 0,
    stdout: "Sending registration request...\nSuccess!\n",
    stderr: "",
  });
  assert.deepEqual(server.requests.map(({ mac }) => mac), [BOB_MAC]);
});

Deno.test("register-user refuses what cannot work", async () => {
  await using folder = await commandFolder();
  await folder.write("hs.yaml", "server_name: example.org\n");
  const user = ["-u", "bob", "-p", "pw", "--no-admin"];
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [user, 2, "synapse-ts: give either --config or --shared-secret. See synapse-ts --help.\n"],
    [
      [...user, "-a", "-k", "s"],
      2,
      "synapse-ts: --admin and --no-admin cannot be given together. See synapse-ts --help.\n",
    ],
    [[...user, "-k", "s", "nonsense"], 2, 'synapse-ts: "nonsense" is not a URL. See synapse-ts --help.\n'],
    [
      [...user, "-c", "hs.yaml"],
      1,
      'No "registration_shared_secret" or "registration_shared_secret_path" in hs.yaml\n',
    ],
    [
      [...user, "-k", "s", "http://127.0.0.1:1"],
      1,
      "Cannot reach a homeserver at http://127.0.0.1:1; is it running?\n",
    ],
  ];
  for (const [args, code, stderr] of cases) {
    const result = await folder.run(["register-user", ...args]);
    assert.deepEqual({ code: result.code, stderr: result.stderr }, { code, stderr });
  }
});

Deno.test("register-user takes an empty name or password for none, and registers nothing that nobody has said", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  await folder.write("empty", "\n");
  const env = { LOGNAME: "dora", USER: "carol" };
  const run = (args: readonly string[], stdin: string) =>
    folder.run(["register_new_matrix_user", "-k", "s", ...args, server.url], { stdin, env });
  const asked = "Sending registration request...\nSuccess!\n";
  assert.deepEqual(await run(["-u", "", "-p", "pw", "--no-admin"], "\n"), {
    code: 0,
    stdout: `New user localpart [dora]: ${asked}`,
    stderr: "",
  });
  for (const password of [["-p", ""], ["--password-file", "empty"]]) {
    assert.deepEqual(await run(["-u", "x", ...password, "--no-admin"], "pw\npw\n"), {
      code: 0,
      stdout: asked,
      stderr: "Password: Confirm password: ",
    });
  }
  assert.deepEqual(server.requests.map(({ username, password }) => [username, password]), [
    ["dora", "pw"],
    ["x", "pw"],
    ["x", "pw"],
  ]);
  const cases: readonly (readonly [readonly string[], string, string])[] = [
    [["-p", "pw", "-a"], "New user localpart [dora]: Invalid user name\n", ""],
    [["-u", "x", "-a"], "Password cannot be blank.\n", "Password: "],
    [
      ["-u", "x", "-p", "pw"],
      "Make admin [no]: ",
      "Nobody says whether the user is an administrator: give --admin or --no-admin.\n",
    ],
  ];
  for (const [args, stdout, stderr] of cases) assert.deepEqual(await run(args, ""), { code: 1, stdout, stderr });
  assert.equal(server.requests.length, 3);
});

Deno.test("register-user ends as Synapse's script does with files, secrets and servers that are not there", async () => {
  await using folder = await commandFolder();
  await using server = registrationServer();
  await folder.write("empty", "\n");
  await folder.write("empty.yaml", "registration_shared_secret_path: empty\n");
  const user = ["-u", "bob", "--no-admin"];
  const cases: readonly (readonly [readonly string[], Awaited<ReturnType<typeof folder.run>>])[] = [
    [["-c", "none.yaml", "-p", "pw"], {
      code: 2,
      stdout: "",
      stderr: `synapse-ts: cannot open none.yaml: there is no such file or folder. See synapse-ts --help.\n`,
    }],
    [["-k", "s", "-p", "pw", "--password-file", "empty"], {
      code: 2,
      stdout: "",
      stderr: `synapse-ts: --password and --password-file cannot be given together. See synapse-ts --help.\n`,
    }],
    [["-k", "s", "-p", "-x"], {
      code: 2,
      stdout: "",
      stderr:
        "synapse-ts: option -p needs a value; one that begins with a dash is given as -pVALUE. See synapse-ts --help.\n",
    }],
    [["-c", "empty.yaml", "-p", "pw", server.url], {
      code: 1,
      stdout: "",
      stderr: "The secret given via `registration_shared_secret_path` must not be empty.\n",
    }],
    [["-k", "s", "-p", "pw", `${server.url}/elsewhere`], {
      code: 1,
      stdout: "ERROR! Received 404 Not Found\nUnrecognized request\n",
      stderr: "",
    }],
  ];
  for (const [args, expected] of cases) {
    assert.deepEqual(await folder.run(["register_new_matrix_user", ...user, ...args]), expected, args.join(" "));
  }
});
