/**
 * After a reset: what a device fetches so that it agrees with all others again.
 *
 * The device keeps the messages that it has, if they still mean something (see `Change`). Of each
 * conversation with news it fetches the newest page of history and the read mark. Between that page
 * and what it had there may be a gap: what changes earlier messages may stand in it, so these are
 * not shown any more. The app can read all with `history`; that is what the `reset` event says.
 */

import { TimewireError } from "./errors.js";
import type { ConversationState, Message } from "./protocol.js";
import { type Ask, conversations, history } from "./queries.js";
import type { Store } from "./store.js";

/**
 * Takes messages, oldest first, read marks, and where conversations begin now, of what is kept;
 * waits while the app is busy with earlier ones.
 */
export type Fetched = (
  messages: readonly Message[],
  marks: ReadonlyMap<string, number>,
  begins: ReadonlyMap<string, number>,
) => Promise<void>;

/** Fetch what is needed. It may be broken off and begun again at any time. */
export async function rebuild(
  ask: Ask,
  store: Store,
  user: string,
  fetched: Fetched,
): Promise<void> {
  for await (const state of conversations(ask)) {
    const name = state.conversation;
    const marks = new Map([[name, state.read]]);
    if (!(await hasNews(state, store, user))) {
      await fetched([], marks, new Map());
      continue;
    }
    const page = await history(ask, name).catch(lost);
    // It was lost to the user between the list and the question.
    if (!page) continue;
    const messages = [...page.messages].reverse();
    // What stands before may have been changed by what was not fetched.
    const first = page.hasMore ? messages[0] : undefined;
    await fetched(messages, marks, new Map(first ? [[name, first.seq]] : []));
  }
}

function lost(failure: unknown): undefined {
  const known = failure instanceof TimewireError && failure.kind;
  if (known !== "forbidden" && known !== "not_found") throw failure;
}

async function hasNews(state: ConversationState, store: Store, user: string): Promise<boolean> {
  if (!state.last) return false;
  // When somebody else's message is here it came in its turn, so all before it are here. One's own
  // may be here by its ack, even one sent just now, which says nothing of those before it.
  const newest = { before: state.last.seq + 1, limit: 1 };
  const [known] = await store.messages(state.conversation, newest);
  return state.last.from === user || known?.seq !== state.last.seq;
}
