/** Rate limits as guards. The service answers 429 with the time to wait. */
import type { LimitName, RateLimits } from "../../services/rate_limits.ts";
import { type Guard, requester } from "../app.ts";

/** Makes guards that limit how often an endpoint is called. */
export class RequestLimits {
  readonly #limits: RateLimits;

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Limits each user; goes after an `auth` guard. */
  perUser(name: LimitName): Guard {
    return (c) => this.#limits.checkUser(name, requester(c));
  }

  /** Limits each client address. */
  perIp(name: LimitName): Guard {
    return (c) => this.#limits.check(name, c.env.clientIp);
  }

  /** Limits what a path parameter names, for example each room. */
  perParam(name: LimitName, param: string): Guard {
    return (c) => this.#limits.check(name, c.req.param(param) ?? "");
  }
}
