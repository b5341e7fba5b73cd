import assert from "node:assert/strict";
import { defaultConfig } from "./load.ts";
import { readSpConfig } from "./saml.ts";

const metadata = { local: ["/etc/idp.xml"] };

function problemOf(saml: Record<string, unknown>): string {
  try {
    defaultConfig("hs.test", { saml2_config: saml });
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

Deno.test("settings of pysaml2 are read as it reads them", () => {
  const read = readSpConfig({
    metadata: { remote: [{ url: "https://idp.example/" }], local: "/etc/idp.xml" },
    service: { sp: { allow_unsolicited: "true", want_assertions_signed: true, name_id_format: ["a", "b"] } },
    accepted_time_diff: 3,
    xmlsec_binary: "/usr/bin/xmlsec1",
    contact_person: [{ given_name: "Bob" }],
  });
  assert.ok("metadata" in read);
  assert.deepEqual(read.metadata.remote, [{ url: "https://idp.example/", cert: null }]);
  assert.deepEqual(read.metadata.local, ["/etc/idp.xml"]);
  assert.deepEqual([read.allowUnsolicited, read.wantResponseSigned, read.wantAssertionsSigned], [true, true, true]);
  assert.deepEqual([read.nameIdFormat, read.acceptedSkewMs, read.entityId], ["a", 3_000, null]);
});

Deno.test("what could not work is said at the start", () => {
  assert.equal(problemOf({ sp_config: { metadata } }), "");
  assert.equal(problemOf({ enabled: false, config_path: "/etc/sp_conf.py" }), "");
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ config_path: "/etc/sp_conf.py" }, /saml2_config\.config_path" is a Python file/],
    [{ sp_config: {} }, /sp_config\.metadata" must name/],
    [{ sp_config: { metadata: { mdq: [{ url: "x" }] } } }, /does not know: mdq/],
    [{ sp_config: { metadata, service: { sp: { want_respons_signed: true } } } }, /service\.sp" .*want_respons_signed/],
    [{ sp_config: { metadata: { remote: [{ url: "idp" }] } } }, /remote.*must be an address/],
    [{ sp_config: { metadata }, mxid_mapping: "base64" }, /mxid_mapping" must be hexencode or dotreplace/],
    [{ sp_config: { metadata }, user_mapping_provider: { module: "my.Provider" } }, /is a Python module/],
  ];
  for (const [saml, expected] of cases) assert.match(problemOf(saml), expected);
});
