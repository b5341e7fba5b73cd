import { equal } from "node:assert/strict";
import { signRequest } from "./s3_signature.ts";

const CREDENTIALS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  sessionToken: null,
  region: "us-east-1",
};
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NOW = Date.UTC(2013, 4, 24);

function signatureOf(path: string, headers: Record<string, string> = {}): string {
  const url = new URL(`https://examplebucket.s3.amazonaws.com${path}`);
  const signed = signRequest({ method: "GET", url, headers, payload: EMPTY, now: NOW }, CREDENTIALS);
  return signed.authorization?.split("Signature=")[1] ?? "";
}

// The examples of "Signature Calculations for the Authorization Header" in Amazon's S3 API reference.
Deno.test("signRequest() signs Amazon's example of reading a part of an object", () => {
  const signature = signatureOf("/test.txt", { range: "bytes=0-9" });
  equal(signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
});

Deno.test("signRequest() signs Amazon's example of a query without a value", () => {
  equal(signatureOf("/?lifecycle"), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
});

Deno.test("signRequest() signs Amazon's example of listing objects", () => {
  const signature = signatureOf("/?max-keys=2&prefix=J");
  equal(signature, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
});
