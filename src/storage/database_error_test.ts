import { equal } from "node:assert/strict";
import { postgresError } from "./database_error.ts";

Deno.test("postgresError() takes every way in which a socket breaks for a lost connection", () => {
  for (const code of ["EPIPE", "ECONNRESET", "ECONNREFUSED", "ETIMEDOUT", "CONNECTION_CLOSED", "57P01", "08006"]) {
    equal(postgresError(Object.assign(new Error("broken"), { code })).kind, "connection", code);
  }
  equal(postgresError(Object.assign(new Error("duplicate"), { code: "23505" })).kind, "conflict");
  equal(postgresError(new Error("no code")).kind, "driver");
});
