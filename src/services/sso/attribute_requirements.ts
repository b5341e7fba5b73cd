/** What the operator demands of those who come from a provider. */
import { SsoError } from "./identity_provider.ts";

/** An attribute that must be there and, where values are named, have one of them. */
export interface AttributeRequirement {
  readonly attribute: string;
  readonly value: string | null;
  readonly oneOf: readonly string[] | null;
}

/** Throws for whoever does not meet all requirements. Attributes may be one value or a list. */
export function assertAttributes(
  attributes: Readonly<Record<string, unknown>>,
  requirements: readonly AttributeRequirement[],
): void {
  for (const requirement of requirements) {
    if (!isMet(attributes, requirement)) throw new SsoError("unauthorised", "You are not authorised to log in here.");
  }
}

function isMet(
  attributes: Readonly<Record<string, unknown>>,
  { attribute, value, oneOf }: AttributeRequirement,
): boolean {
  if (!Object.hasOwn(attributes, attribute)) return false;
  if (value === null && oneOf === null) return true;
  const found = attributes[attribute];
  const values: readonly unknown[] = Array.isArray(found) ? found : [found];
  return values.some((item) => item === value || (oneOf ?? []).some((allowed) => allowed === item));
}
