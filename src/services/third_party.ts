/** Lookups in the networks that application services bridge. Spec: client-server API, "Third-party Lookups". */
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { AppserviceClient } from "./appservice_client.ts";
import type { Appservice, Appservices } from "./appservices.ts";

/** What the lookups are made with. */
export interface ThirdPartyDeps {
  readonly appservices: Appservices;
  readonly client: Pick<AppserviceClient, "find" | "protocol">;
}

/** Asks all services that may know. */
export class ThirdPartyService {
  readonly #deps: ThirdPartyDeps;

  constructor(deps: ThirdPartyDeps) {
    this.#deps = deps;
  }

  /** Returns what services say of their protocols; the instances of one protocol are put together. */
  async protocols(): Promise<Readonly<Record<string, JsonObject>>> {
    const { appservices, client } = this.#deps;
    const asked = appservices.all.flatMap((service) => service.protocols.map((name) => ({ service, name })));
    const answers = await Promise.all(asked.map(({ service, name }) => client.protocol(service, name)));
    const found: Record<string, JsonObject> = {};
    for (const [index, answer] of answers.entries()) {
      const { service, name } = asked[index] ?? {};
      if (answer === null || service === undefined || name === undefined) continue;
      const instances = instancesOf(answer, service);
      const known = found[name];
      if (known === undefined) found[name] = { ...answer, instances };
      else if (Array.isArray(known.instances)) known.instances.push(...instances);
    }
    return found;
  }

  /** Returns what services know; `protocol` is null for a lookup by Matrix id or alias. */
  async find(
    kind: "location" | "user",
    query: { readonly protocol: string | null; readonly fields: Readonly<Record<string, string>> },
  ): Promise<readonly JsonObject[]> {
    const { appservices, client } = this.#deps;
    const services = appservices.all.filter(({ protocols }) =>
      query.protocol === null ? protocols.length > 0 : protocols.includes(query.protocol)
    );
    const answers = await Promise.all(services.map((service) => client.find(service, { kind, ...query })));
    return answers.flat();
  }
}

/** The instances of a protocol, with the ids by which the public room list names them. */
function instancesOf({ instances }: JsonObject, service: Appservice): JsonObject[] {
  if (!Array.isArray(instances)) return [];
  return instances.filter(isJsonObject).map((instance) =>
    typeof instance.network_id === "string"
      ? { ...instance, instance_id: `${service.id}|${instance.network_id}` }
      : instance
  );
}
