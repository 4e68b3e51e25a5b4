/** The pauses between connections, and what ends them early. */

import { CloseCode, type Problem } from "./protocol.js";

export interface BackoffOptions {
  /** The longest first pause. */
  readonly baseMs?: number;
  /** The longest pause of all. */
  readonly maxMs?: number;
  readonly random?: () => number;
}

/**
 * Pauses that grow with the number of attempts: anything up to `baseMs * 2 ** attempt`.
 *
 * The whole pause is random, so that a million devices do not come back in the same second.
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;

  constructor({ baseMs = 500, maxMs = 30_000, random = Math.random }: BackoffOptions = {}) {
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** How long to wait after the given failed attempt; the first is 0. */
  pauseMs(attempt: number): number {
    return this.#random() * Math.min(this.#maxMs, this.#baseMs * 2 ** Math.min(attempt, 32));
  }

  /** The longest pause, for when there is no network at all. */
  get longestMs(): number {
    return this.#maxMs;
  }
}

/** The longest pause that a server may ask for. */
export const MAX_TOLD_PAUSE_MS = 60_000;

/** How long a server that stops has asked to stay away, so that not all come back at once. */
export function toldPauseMs(code: number, reason: string): number {
  const told = code === CloseCode.SHUTTING_DOWN ? / (\d{1,8})$/.exec(reason)?.[1] : undefined;
  return Math.min(Number(told ?? 0), MAX_TOLD_PAUSE_MS);
}

/** How long the server has asked to wait before what it refused is repeated. */
export function retryAfterMs({ fields }: Problem): number {
  const told = fields.retry_after;
  return typeof told === "number" ? Math.max(0, Math.min(told, MAX_TOLD_PAUSE_MS)) : 0;
}

/** What a page knows of the world around it. */
export interface Surroundings {
  /** Whether there is surely no network. */
  offline(): boolean;
  /** Whether somebody looks at the page. */
  visible(): boolean;
  /** Have something called when the network is back, or the page is looked at again. */
  onWake(call: () => void): () => void;
}

/** The surroundings of this page; outside of pages nothing happens. */
export function surroundings(): Surroundings {
  const page = globalThis.document as Document | undefined;
  const listen = typeof globalThis.addEventListener === "function";
  return {
    offline: () => globalThis.navigator?.onLine === false,
    visible: () => page?.visibilityState !== "hidden",
    onWake(call) {
      const seen = () => {
        if (page?.visibilityState === "visible") call();
      };
      if (listen) globalThis.addEventListener("online", call);
      page?.addEventListener("visibilitychange", seen);
      return () => {
        if (listen) globalThis.removeEventListener("online", call);
        page?.removeEventListener("visibilitychange", seen);
      };
    },
  };
}

/** Pauses that can be ended. */
export class Sleeper {
  #wakes = new Set<() => void>();

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#wakes.add(wake);
    });
  }

  /** End all pauses of now. */
  wake(): void {
    for (const wake of this.#wakes) wake();
  }
}
