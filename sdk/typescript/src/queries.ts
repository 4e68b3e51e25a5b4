/** Questions to the server, page by page: history, conversations, members, search. */

import { newId } from "./names.js";
import type {
  BanPage,
  ConversationPage,
  ConversationState,
  DevicePage,
  DeviceState,
  HistoryPage,
  LinkPage,
  LinkState,
  ListBans,
  ListConversations,
  ListDevices,
  ListLinks,
  ListMembers,
  LogOut,
  MemberPage,
  Message,
  Query,
  ReadBy,
  ReaderPage,
  Role,
  Search,
  SearchHit,
  SearchPage,
  WhyEmpty,
} from "./protocol.js";
import { PAGE_ENTRIES, type Page } from "./session.js";

/** What is found at a time, where the app does not say how many. */
const SEARCH_HITS = 20;

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
  const page = (await ask(query)) as HistoryPage;
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
    const last = page.messages.at(-1);
    if (!last || !page.hasMore) return;
    where = where.after !== undefined ? { after: last.seq } : { before: last.seq };
  }
}

export async function* conversations(ask: Ask): AsyncGenerator<ConversationState, void> {
  const query = { type: "conversations" } as const;
  yield* list(ask, query, (page: ConversationPage) =>
    page.conversations.map((state) => [state.conversation, state]),
  );
}

export async function* members(ask: Ask, conversation: string): AsyncGenerator<Member, void> {
  const query = { type: "members", conversation } as const;
  yield* list(ask, query, ({ members, roles, muted }: MemberPage) =>
    members.map((name) => {
      return [name, { name, role: roles[name] ?? "member", muted: muted[name] ?? 0 }];
    }),
  );
}

export async function* readers(
  ask: Ask,
  conversation: string,
  seq: number,
): AsyncGenerator<string, void> {
  const query = { type: "read_by", conversation, seq } as const;
  yield* list(ask, query, (page: ReaderPage) => page.readers.map((name) => [name, name]));
}

/** Who may not be a member of a group. */
export async function* bans(ask: Ask, conversation: string): AsyncGenerator<string, void> {
  const query = { type: "bans", conversation } as const;
  yield* list(ask, query, (page: BanPage) => page.users.map((name) => [name, name]));
}

/** The invite links of a group. */
export async function* links(ask: Ask, conversation: string): AsyncGenerator<LinkState, void> {
  const query = { type: "links", conversation } as const;
  yield* list(ask, query, (page: LinkPage) => page.links.map((one) => [one.link, one]));
}

type Listing =
  | Omit<ListConversations, "id">
  | Omit<ListMembers, "id">
  | Omit<ListBans, "id">
  | Omit<ListLinks, "id">
  | Omit<ReadBy, "id">;

/** All of a list, page by page; `items` of a page, with their names, by which the list goes on. */
async function* list<Of extends Page & { has_more: boolean }, Item>(
  ask: Ask,
  query: Listing,
  items: (page: Of) => (readonly [name: string, item: Item])[],
): AsyncGenerator<Item, void> {
  for (let after: string | undefined = ""; after !== undefined; ) {
    const page = (await ask({ ...query, id: newId(), after, limit: PAGE_ENTRIES })) as Of;
    const found: (readonly [name: string, item: Item])[] = items(page);
    for (const [, item] of found) yield item;
    after = page.has_more ? found.at(-1)?.[0] : undefined;
  }
}

export async function search(ask: Ask, wanted: Omit<Search, "type" | "id">): Promise<SearchSlice> {
  const query = { type: "search", id: newId(), limit: SEARCH_HITS, ...wanted } as const;
  const page = (await ask(query)) as SearchPage;
  return { hits: page.hits, watermark: page.watermark, next: page.next };
}

export async function devices(
  ask: Ask,
  query: Omit<ListDevices, "id"> | Omit<LogOut, "id">,
): Promise<readonly DeviceState[]> {
  return ((await ask({ ...query, id: newId() })) as DevicePage).devices;
}

/** All that comes, in a list. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}
