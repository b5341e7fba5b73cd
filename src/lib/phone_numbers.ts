/** Phone numbers, read by a package that is loaded with the first one. */

const MAX_LENGTH = 64;

/** Returns a number as countries dial each other, digits only; null for what is none. `country` is of ISO 3166-1. */
export async function parsePhoneNumber(text: string, country: string): Promise<string | null> {
  const { isSupportedCountry, parsePhoneNumberFromString } = await import("libphonenumber-js");
  const code = country.toUpperCase();
  if (text.length > MAX_LENGTH || !isSupportedCountry(code)) return null;
  const parsed = parsePhoneNumberFromString(text, code);
  return parsed?.isPossible() === true ? parsed.number.slice(1) : null;
}
