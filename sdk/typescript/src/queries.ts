/** Questions to the server, page by page: history, conversations, members, search. */

import { newId } from "./names.js";
import type {
  ConversationState,
  Message,
  Query,
  Role,
  Search,
  SearchHit,
  WhyEmpty,
} from "./protocol.js";
import type { Page } from "./session.js";

/** Asked for at a time, where the app does not say how many. */
export const PAGE_ENTRIES = 100;

/** Gets the answer to a query, over as many connections as it takes; throws why it was refused. */
export type Ask = (query: Query) => Promise<Page>;

/** Where to read: past `after`, oldest first, or below `before`, newest first; else the newest. */
export interface Where {
  readonly after?: number | undefined;
  readonly before?: number | undefined;
}

/**
 * Messages in the order asked for; `hasMore`: there are more in that direction. `why`: there are
 * messages, but one may not read them.
 */
export interface HistorySlice {
  readonly messages: readonly Message[];
  readonly hasMore: boolean;
  readonly why: WhyEmpty | null;
}

/** What was found in everything up to `watermark`; `next`: what to give as `page` for more. */
export interface SearchSlice {
  readonly hits: readonly SearchHit[];
  readonly watermark: number;
  readonly next: string;
}

/** A member of a conversation; `muted`: until when (ms) it may not say anything. */
export interface Member {
  readonly name: string;
  readonly role: Role;
  readonly muted: number;
}

export async function history(
  ask: Ask,
  conversation: string,
  { after, before }: Where = {},
  limit = PAGE_ENTRIES,
): Promise<HistorySlice> {
  const where = after !== undefined ? { after } : before !== undefined ? { before } : {};
  const query = { type: "history", id: newId(), conversation, ...where, limit } as const;
  const page = await asked(ask, query, "history_page");
  return { messages: page.messages, hasMore: page.has_more, why: page.why };
}

export async function* scroll(
  ask: Ask,
  conversation: string,
  where: Where = {},
): AsyncGenerator<Message, void> {
  for (;;) {
    const page = await history(ask, conversation, where);
    yield* page.messages;
    const last = page.messages[page.messages.length - 1];
    if (!last || !page.hasMore) return;
    where = where.after !== undefined ? { after: last.seq } : { before: last.seq };
  }
}

export async function* conversations(ask: Ask): AsyncGenerator<ConversationState, void> {
  for (let after = "", more = true; more; ) {
    const query = { type: "conversations", id: newId(), after, limit: PAGE_ENTRIES } as const;
    const page = await asked(ask, query, "conversation_page");
    yield* page.conversations;
    after = page.conversations[page.conversations.length - 1]?.conversation ?? "";
    more = page.has_more && after !== "";
  }
}

export async function* members(ask: Ask, conversation: string): AsyncGenerator<Member, void> {
  for (let after = "", more = true; more; ) {
    const query = {
      type: "members",
      id: newId(),
      conversation,
      after,
      limit: PAGE_ENTRIES,
    } as const;
    const page = await asked(ask, query, "member_page");
    for (const name of page.members) {
      yield { name, role: page.roles[name] ?? "member", muted: page.muted[name] ?? 0 };
      after = name;
    }
    more = page.has_more && page.members.length > 0;
  }
}

export async function* readers(
  ask: Ask,
  conversation: string,
  seq: number,
): AsyncGenerator<string, void> {
  for (let after = "", more = true; more; ) {
    const place = { conversation, seq, after, limit: PAGE_ENTRIES };
    const page = await asked(ask, { type: "read_by", id: newId(), ...place }, "reader_page");
    yield* page.readers;
    after = page.readers[page.readers.length - 1] ?? "";
    more = page.has_more && after !== "";
  }
}

export async function search(ask: Ask, wanted: Omit<Search, "type" | "id">): Promise<SearchSlice> {
  const page = await asked(ask, { type: "search", id: newId(), ...wanted }, "search_page");
  return { hits: page.hits, watermark: page.watermark, next: page.next };
}

/** A query's answer, which is a page of this type. */
async function asked<Type extends Page["type"]>(
  ask: Ask,
  query: Query,
  _: Type,
): Promise<Extract<Page, { type: Type }>> {
  return (await ask(query)) as Extract<Page, { type: Type }>;
}

/** All that comes, in a list. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}
