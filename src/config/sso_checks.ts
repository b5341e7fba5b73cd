/** Rules for the options of logins by other means. */
import type { SectionValues } from "./config.ts";
import type { Report } from "./schema.ts";

/** Algorithms that tokens may be signed with. `none` is no signature. */
const ALGORITHMS = ["EdDSA", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "PS256", "PS384", "PS512"]
  .concat(["RS256", "RS384", "RS512"]);

/** Reports what contradicts itself or could not work. */
export function checkSso(values: SectionValues, report: Report): void {
  checkJwt(values, report);
}

function checkJwt({ sso: { jwtConfig } }: SectionValues, report: Report): void {
  if (jwtConfig === null || !jwtConfig.enabled) return;
  if (!jwtConfig.secret) report.problem(["jwt_config", "secret"], "is missing");
  if (jwtConfig.algorithm === null) report.problem(["jwt_config", "algorithm"], "is missing");
  else if (!ALGORITHMS.includes(jwtConfig.algorithm)) {
    report.problem(["jwt_config", "algorithm"], `must be one of ${ALGORITHMS.join(", ")}`);
  }
}
