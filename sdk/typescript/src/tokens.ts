/** The token that says who the user is, and getting another one. */

import { error, reasonOf, TimewireError } from "./errors.js";

/** Fresh tokens that may be refused one after the other before the device gives up. */
const MAX_REFUSALS = 3;

/** A token, or a function that gets one: called at first, and whenever another one is needed. */
export type TokenSource = string | (() => string | Promise<string>);

export class Tokens {
  #known = "";
  #refusals = 0;

  constructor(private readonly source: TokenSource) {}

  /** Whether another token can be had. */
  get renewable(): boolean {
    return typeof this.source !== "string";
  }

  /** The token. Throws `not_connected` when none can be had now. */
  async get(): Promise<string> {
    return this.#known || this.fresh();
  }

  /** Another token, to be used from now on. Throws as `get` does. */
  async fresh(): Promise<string> {
    this.#known = typeof this.source === "string" ? this.source : await fetched(this.source);
    return this.#known;
  }

  /** The server wants another token; false when there is none to be had. */
  renew(): boolean {
    this.#refusals += 1;
    this.#known = "";
    return this.renewable && this.#refusals <= MAX_REFUSALS;
  }

  /** The server has taken the token. */
  accepted(): void {
    this.#refusals = 0;
  }
}

async function fetched(source: () => string | Promise<string>): Promise<string> {
  try {
    return await source();
  } catch (failure) {
    if (failure instanceof TimewireError) throw failure;
    throw error("not_connected", { reason: `no token: ${reasonOf(failure)}` });
  }
}
