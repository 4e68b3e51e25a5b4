/** What a device's face needs of what is behind it: a connection of its own, or another tab's. */

import type { Feed } from "./feed.js";
import type { Ack, Command, Query } from "./protocol.js";
import type { Page, State } from "./session.js";
import type { Store } from "./store.js";

/** Where a device stands. `outbox`: how many commands have no answer yet. */
export interface Standing {
  readonly user: string;
  readonly state: State;
  readonly outbox: number;
}

/** What has no answer. */
export type Signal =
  | { readonly type: "typing"; readonly conversation: string }
  | { readonly type: "watch"; readonly users: readonly string[] };

export interface Core {
  readonly standing: Standing;
  readonly feed: Feed;
  readonly store: Store;
  /** Why there is no connection, or why the last one ended. */
  readonly trouble: string;
  /** Queue a command; its ack, or why it was refused. */
  put(command: Command): Promise<Ack>;
  /** The answer to a query, however many connections it takes. */
  ask(query: Query): Promise<Page>;
  tell(signal: Signal): void;
  /** Wait until a condition on the device holds. Throws what has ended the device. */
  until(condition: (standing: Standing) => boolean): Promise<void>;
  /** End everything. What is in the outbox stays in the store, and unread events too. */
  stop(): Promise<void>;
}
