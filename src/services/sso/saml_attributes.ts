/** What an assertion says of a person, by the short names that configurations use. */

/**
 * Short names of attributes that go by long ones: of X.500 and eduPerson, and those of Microsoft's servers.
 * @data-table
 */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  "http://schemas.microsoft.com/identity/claims/displayname": "displayName",
  "http://schemas.microsoft.com/identity/claims/objectidentifier": "objectidentifier",
  "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups": "groups",
  "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "role",
  "http://schemas.xmlsoap.org/claims/CommonName": "commonName",
  "http://schemas.xmlsoap.org/claims/EmailAddress": "email",
  "http://schemas.xmlsoap.org/claims/Group": "group",
  "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": "emailAddress",
  "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname": "givenName",
  "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": "name",
  "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname": "surname",
  "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "upn",
  "urn:oasis:names:tc:SAML:attribute:pairwise-id": "pairwise-id",
  "urn:oasis:names:tc:SAML:attribute:subject-id": "subject-id",
  "urn:oid:0.9.2342.19200300.100.1.1": "uid",
  "urn:oid:0.9.2342.19200300.100.1.3": "mail",
  "urn:oid:1.2.840.113549.1.9.1": "email",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.1": "eduPersonAffiliation",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.10": "eduPersonTargetedID",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.13": "eduPersonUniqueId",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.6": "eduPersonPrincipalName",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.7": "eduPersonEntitlement",
  "urn:oid:1.3.6.1.4.1.5923.1.1.1.9": "eduPersonScopedAffiliation",
  "urn:oid:1.3.6.1.4.1.5923.1.5.1.1": "isMemberOf",
  "urn:oid:2.16.840.1.113730.3.1.241": "displayName",
  "urn:oid:2.16.840.1.113730.3.1.3": "employeeNumber",
  "urn:oid:2.16.840.1.113730.3.1.39": "preferredLanguage",
  "urn:oid:2.5.4.10": "o",
  "urn:oid:2.5.4.11": "ou",
  "urn:oid:2.5.4.12": "title",
  "urn:oid:2.5.4.20": "telephoneNumber",
  "urn:oid:2.5.4.3": "cn",
  "urn:oid:2.5.4.4": "sn",
  "urn:oid:2.5.4.42": "givenName",
};

/** Attributes by name, each with one value or more. */
export type SamlAttributes = Readonly<Record<string, readonly string[]>>;

/** An element as the parser gives it. */
export interface XmlElement {
  readonly $?: Readonly<Record<string, string>>;
  readonly _?: string;
  readonly [child: string]: unknown;
}

/** Returns the elements of a name within another. */
export function children(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  const found = element !== undefined && Object.hasOwn(element, name) ? element[name] : undefined;
  if (!Array.isArray(found)) return [];
  return found.map((child: unknown) => typeof child === "string" ? { _: child } : child as XmlElement);
}

/**
 * Reads the attributes of an assertion. One goes by its name, and by the short name where it is known; by its friendly name
 * only where no other has that.
 */
export function readAttributes(assertion: XmlElement): SamlAttributes {
  const named = new Map<string, string[]>();
  const friendly = new Map<string, string[]>();
  for (const statement of children(assertion, "AttributeStatement")) {
    for (const attribute of children(statement, "Attribute")) {
      const values = children(attribute, "AttributeValue").map(({ _: text = "" }) => text.trim())
        .filter((text) => text !== "");
      const { Name: name = "", FriendlyName: nick = "" } = attribute.$ ?? {};
      if (values.length === 0 || name === "") continue;
      const short = Object.hasOwn(SHORT_NAMES, name) ? SHORT_NAMES[name] ?? name : name;
      for (const key of new Set([name, short])) named.set(key, [...named.get(key) ?? [], ...values]);
      if (nick !== "") friendly.set(nick, [...friendly.get(nick) ?? [], ...values]);
    }
  }
  return Object.fromEntries([...friendly, ...named]);
}
