/** Links that end the mails of one pusher, for whoever has the mail and without a login. */
import { equalSecrets } from "../lib/digest.ts";
import { type SigningKey, signText } from "../protocol/signatures.ts";
import type { PusherKey } from "../storage/pushers.ts";

/** What links are made with. */
export interface UnsubscribesDeps {
  /** The server's key: a link is a signature of what it ends. */
  readonly key: SigningKey;
  readonly publicBaseurl: string;
}

/** Makes and checks links. */
export class Unsubscribes {
  readonly #deps: UnsubscribesDeps;

  constructor(deps: UnsubscribesDeps) {
    this.#deps = deps;
  }

  /** Returns the link that ends a pusher's mails. */
  urlFor({ userId, appId, pushkey }: PusherKey): string {
    const token = this.#tokenOf({ userId, appId, pushkey });
    const query = new URLSearchParams({ user_id: userId, app_id: appId, pushkey, token });
    return `${this.#deps.publicBaseurl}_synapse/client/unsubscribe?${query}`;
  }

  /** Tells whether a link's token is of the pusher that it names. */
  isValid(key: PusherKey, token: string): boolean {
    return equalSecrets(token, this.#tokenOf(key));
  }

  #tokenOf({ userId, appId, pushkey }: PusherKey): string {
    return signText(JSON.stringify(["unsubscribe", userId, appId, pushkey]), this.#deps.key);
  }
}
