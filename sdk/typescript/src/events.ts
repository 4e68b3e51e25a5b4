/** What a device tells its app: a few events, in the order in which they happened. */

import type { TimewireError } from "./errors.js";
import type { Message, ResetReason } from "./protocol.js";

/**
 * An event that carries a message; it is kept until the app has dealt with it.
 *
 * `received`: this device did not have it: somebody else's, or one's own from another device.
 * `acked`: this device sent it; now it is stored and has its SeqId. Each message comes once.
 */
export type Arrival =
  | { readonly type: "received"; readonly message: Message }
  | { readonly type: "acked"; readonly message: Message };

/**
 * An event that is soon stale.
 *
 * `connected`: what was queued is on its way. `live`: nothing is missing any more. `typing`: good
 * for a few seconds. `presence`: a watched user is online, or not: then `seen` says since when (ms;
 * 0: not known).
 */
export type News =
  | { readonly type: "connected" }
  | { readonly type: "live" }
  | { readonly type: "disconnected"; readonly reason: string }
  | { readonly type: "typing"; readonly conversation: string; readonly user: string }
  | {
      readonly type: "presence";
      readonly user: string;
      readonly online: boolean;
      readonly seen: number;
    };

/**
 * What happens.
 *
 * `refused`: what this device sent will never be stored; `error` says why.
 *
 * `reset`: the device was away for too long (`expired`), or the server's log is not the one it
 * knew. Then follow, as `received`, the newest page of history of each conversation with news, and
 * what is new; a gap before that page is read with `history`. For any other reason than `expired`
 * the device has forgotten all that it had, and the app should too.
 */
export type Event =
  | Arrival
  | News
  | {
      readonly type: "refused";
      readonly id: string;
      readonly conversation: string;
      readonly error: TimewireError;
    }
  | { readonly type: "reset"; readonly reason: ResetReason };

/** Whether an event carries a message. */
export function isArrival(event: Event): event is Arrival {
  return event.type === "received" || event.type === "acked";
}

/** Whether an event is soon stale. */
export function isNews(event: Event): event is News {
  return !isArrival(event) && event.type !== "refused" && event.type !== "reset";
}
