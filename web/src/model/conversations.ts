/** The user's conversations, the newest first, with what is unread in each. */

import { computed, signal } from "@preact/signals";
import type { Client, ConversationState, Message } from "@timewire/client";
import { isRow, isSaid } from "./messages";
import { recall, save } from "./saved";

/** Conversations that are kept for a start without network. */
const MAX_KEPT_CONVERSATIONS = 200;
/** Conversations whose newest messages say nothing, and in which something is looked for. */
const MAX_LOOKED_BACK = 30;
/** So many messages back. */
const LOOK_BACK_MESSAGES = 20;
/** After a change that only the server can count: so long until it is asked. */
const RELOAD_MS = 400;

/** Kinds of messages that say nothing about the list. */
const IRRELEVANT = ["edited", "reaction", "hidden", "uploaded", "swept", "blocked"];

type States = ReadonlyMap<string, ConversationState>;

export class Conversations {
  readonly states = signal<States>(new Map());
  readonly loaded = signal(false);
  /** By their last message, the newest first. */
  readonly sorted = computed(() =>
    [...this.states.value.values()]
      .filter(({ kind, last, member }) => member || last || kind === "self")
      .sort((one, other) => rank(other) - rank(one)),
  );
  readonly unread = computed(() =>
    this.sorted.value.reduce((sum, { unread, mentioned, kind }) => {
      return sum + (kind === "group" ? mentioned || (unread ? 1 : 0) : unread);
    }, 0),
  );
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly user: string,
    private readonly client: () => Client | undefined,
  ) {
    const kept = recall<ConversationState[]>(this.#name) ?? [];
    this.states.value = new Map(kept.map((state) => [state.conversation, state]));
  }

  get(conversation: string): ConversationState | undefined {
    return this.states.value.get(conversation);
  }

  /** Ask the server how things are. */
  async load(): Promise<void> {
    clearTimeout(this.#timer);
    const states = await this.client()?.conversations();
    if (!states) return;
    const known = this.states.value;
    this.states.value = new Map(
      states.map((state) => [state.conversation, ahead(state, known.get(state.conversation))]),
    );
    this.loaded.value = true;
    void this.#lookBack(states).catch(() => undefined);
    save(this.#name, this.sorted.value.slice(0, MAX_KEPT_CONVERSATIONS));
  }

  /** Where the newest message says nothing to read, such as a reaction, find the one that does. */
  async #lookBack(states: readonly ConversationState[]): Promise<void> {
    const silent = states.filter(({ kind, last }) => kind !== "self" && last && !isRow(last));
    const newestFirst = silent.sort((one, other) => newest(other) - newest(one));
    for (const { conversation } of newestFirst.slice(0, MAX_LOOKED_BACK)) {
      const page = await this.client()?.history(conversation, { limit: LOOK_BACK_MESSAGES });
      const row = page?.messages.find(isRow);
      const state = this.get(conversation);
      const isNewer = state?.last && isRow(state.last) && state.last.seq > (row?.seq ?? 0);
      if (row && state && !isNewer) this.#put({ ...state, last: row });
    }
  }

  /** Ask the server soon. */
  reload(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.load().catch(() => undefined), RELOAD_MS);
  }

  /** A message has come; `seen`: the user looks at it. */
  took(message: Message, seen: boolean): void {
    const state = this.get(message.conversation);
    if (!isSaid(message) || !state) {
      if (!IRRELEVANT.includes(message.kind)) this.reload();
      return;
    }
    if (message.seq <= newest(state)) return;
    const own = message.from === this.user;
    const counts = !own && !seen && message.seq > state.read;
    const speaks = message.mentions.includes("*") || message.mentions.includes(this.user);
    this.#put({
      ...state,
      last: message,
      unread: state.unread + (counts ? 1 : 0),
      mentioned: state.mentioned + (counts && speaks ? 1 : 0),
    });
  }

  /** The user has read a conversation up to a SeqId; whether that is news. */
  read(conversation: string, seq: number): boolean {
    const state = this.get(conversation);
    if (!state || state.read >= seq) return false;
    const all = seq >= newest(state);
    this.#put({ ...state, read: seq, ...(all ? { unread: 0, mentioned: 0 } : {}) });
    if (!all) this.reload();
    return true;
  }

  /** A direct conversation that nothing was said in yet. */
  begin(conversation: string): void {
    if (this.get(conversation)) return;
    const kind = conversation.startsWith("self:") ? "self" : "direct";
    const none = { title: "", read: 0, unread: 0, last: null, mentioned: 0, pins: [], muted: 0 };
    const rest = {
      presence: "all",
      role: "member",
      history: "joined",
      invite: "members",
      mention_all: "members",
    } as const;
    this.#put({ conversation, kind, member: true, ...none, ...rest });
  }

  #put(state: ConversationState): void {
    this.states.value = new Map(this.states.value).set(state.conversation, state);
  }

  get #name(): string {
    return `list:${this.user}`;
  }
}

/** One's own notes are not in front for what devices have noted there. */
function rank({ kind, last }: ConversationState): number {
  return last && (kind !== "self" || isSaid(last)) ? last.seq : 0;
}

function newest({ last }: ConversationState): number {
  return last?.seq ?? 0;
}

/** What the server says, and what has come while it said it. */
function ahead(told: ConversationState, known: ConversationState | undefined): ConversationState {
  if (!known) return told;
  const read = Math.max(told.read, known.read);
  const all = read >= newest(told) ? { unread: 0, mentioned: 0 } : {};
  // What is known to read stays in sight until something newer to read is known.
  const shown = told.last && !isRow(told.last) && known.last && isRow(known.last);
  return { ...told, read, ...all, ...(shown ? { last: known.last } : {}) };
}
