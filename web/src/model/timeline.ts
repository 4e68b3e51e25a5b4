/**
 * The part of a conversation that is loaded: messages without a gap, wherever in its history.
 *
 * At the newest end, what comes is added. Elsewhere it is left to `newer`, which reads on.
 */

import { batch, signal } from "@preact/signals";
import { type Client, type Message, revised } from "@timewire/client";
import { rewritten } from "./messages";

const PAGE_MESSAGES = 60;
/** Beyond it, what is furthest from the reader is let go, and read again when it is wanted. */
export const MAX_LOADED_MESSAGES = 20_000;

export class Timeline {
  readonly messages = signal<readonly Message[]>([]);
  readonly hasOlder = signal(false);
  readonly hasNewer = signal(false);
  /** Nothing is known yet. */
  readonly loading = signal(true);
  /** Why nothing can be read. */
  readonly fault = signal<unknown>(undefined);
  /** The message to be shown, or the end; once more for each new object. */
  readonly target = signal<{ readonly key?: number } | undefined>(undefined);
  #busy = false;
  #turn = 0;
  #arrived: Message[] = [];

  constructor(
    readonly conversation: string,
    private readonly client: Client,
  ) {}

  /** Read the newest messages: at once those that this device has, then the server's. */
  async open(): Promise<void> {
    const turn = this.#begin();
    try {
      const kept = await this.client.kept(this.conversation, { limit: PAGE_MESSAGES });
      if (turn !== this.#turn) return;
      if (kept.length) {
        batch(() => {
          this.#set(kept.reverse(), this.messages.value);
          this.hasOlder.value = true;
          this.loading.value = false;
        });
      }
      await this.#newest(turn);
    } catch (failure) {
      this.#fail(turn, failure);
    }
  }

  /** Go to the newest messages. */
  async toNewest(): Promise<void> {
    this.target.value = {};
    if (!this.hasNewer.value) return;
    const turn = this.#begin();
    try {
      await this.#newest(turn);
      this.target.value = {};
    } catch (failure) {
      this.#fail(turn, failure);
    }
  }

  /** Show a message, with what stands around it. */
  async jump(seq: number): Promise<void> {
    const { messages } = this;
    if (messages.value.some((one) => one.seq === seq)) return this.#aim(seq);
    const turn = this.#begin();
    try {
      const [before, after] = await Promise.all([
        this.client.history(this.conversation, { before: seq + 1, limit: PAGE_MESSAGES }),
        this.client.history(this.conversation, { after: seq, limit: PAGE_MESSAGES }),
      ]);
      if (turn !== this.#turn) return;
      batch(() => {
        this.hasOlder.value = before.hasMore;
        this.hasNewer.value = after.hasMore;
        this.loading.value = false;
        this.messages.value = [...[...before.messages].reverse(), ...after.messages];
      });
      this.#aim(seq);
    } catch (failure) {
      this.#fail(turn, failure);
    }
  }

  /** Read on before the first message. */
  older(): Promise<void> {
    return this.#extend(async (turn) => {
      const before = this.messages.value[0]?.seq;
      if (before === undefined || !this.hasOlder.value) return;
      const { messages, hasMore } = await this.#before(before);
      if (turn !== this.#turn) return;
      batch(() => {
        this.hasOlder.value = hasMore;
        const all = [...[...messages].reverse(), ...this.messages.value];
        if (all.length > MAX_LOADED_MESSAGES) this.hasNewer.value = true;
        this.messages.value = all.slice(0, MAX_LOADED_MESSAGES);
      });
    });
  }

  /** Read on behind the last message. */
  newer(): Promise<void> {
    return this.#extend(async (turn) => {
      const after = this.messages.value.at(-1)?.seq;
      if (after === undefined || !this.hasNewer.value) return;
      const page = await this.client.history(this.conversation, { after, limit: PAGE_MESSAGES });
      if (turn !== this.#turn) return;
      batch(() => {
        this.hasNewer.value = page.hasMore;
        const all = merged(this.messages.value, page.messages);
        if (all.length > MAX_LOADED_MESSAGES) this.hasOlder.value = true;
        this.messages.value = all.slice(-MAX_LOADED_MESSAGES);
      });
    });
  }

  /** A message of this conversation has come. Those of one moment are added together. */
  took(message: Message): void {
    if (this.#arrived.push(message) === 1) setTimeout(() => this.#add());
  }

  /** The user does not want to see a message any more. */
  hide(seq: number): void {
    this.messages.value = this.messages.value.filter((one) => one.seq !== seq);
  }

  /** A message as it is loaded here. */
  find(seq: number): Message | undefined {
    return this.messages.value.find((one) => one.seq === seq);
  }

  #add(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    let all = this.messages.value;
    if (!this.hasNewer.value) all = merged(all, arrived);
    for (const change of arrived) all = changed(all, change);
    this.messages.value = all;
  }

  #begin(): number {
    this.#turn += 1;
    this.#busy = false;
    this.fault.value = undefined;
    return this.#turn;
  }

  async #newest(turn: number): Promise<void> {
    const page = await this.client.history(this.conversation, { limit: PAGE_MESSAGES });
    if (turn !== this.#turn) return;
    const messages = [...page.messages].reverse();
    const end = messages.at(-1)?.seq ?? 0;
    batch(() => {
      // What is loaded beyond the page came while it was asked for, unless there is a gap.
      const beyond = this.hasNewer.value ? [] : this.messages.value;
      this.hasNewer.value = false;
      this.hasOlder.value = page.hasMore;
      this.loading.value = false;
      this.messages.value = merged(
        messages,
        beyond.filter(({ seq }) => seq > end),
      );
    });
  }

  /** What stands before a message: from the server, or without network from this device. */
  async #before(before: number): Promise<{ messages: readonly Message[]; hasMore: boolean }> {
    const options = { before, limit: PAGE_MESSAGES };
    if (this.client.state === "connecting") {
      const messages = await this.client.kept(this.conversation, options);
      if (messages.length) return { messages, hasMore: true };
    }
    return this.client.history(this.conversation, options);
  }

  async #extend(work: (turn: number) => Promise<void>): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const turn = this.#turn;
    try {
      await work(turn);
    } catch (failure) {
      this.#fail(turn, failure);
    } finally {
      if (turn === this.#turn) this.#busy = false;
    }
  }

  #set(messages: readonly Message[], others: readonly Message[]): void {
    this.messages.value = merged(messages, others);
  }

  #aim(seq: number): void {
    this.target.value = { key: seq };
  }

  #fail(turn: number, failure: unknown): void {
    if (turn !== this.#turn) return;
    batch(() => {
      this.fault.value = failure;
      this.loading.value = false;
      this.hasOlder.value = false;
    });
  }
}

/** Messages of both, by SeqId; of one that is in both, as it was changed last. */
function merged(one: readonly Message[], other: readonly Message[]): readonly Message[] {
  if (!other.length) return one;
  const last = one.at(-1)?.seq ?? 0;
  const isBehind = other.every(({ seq }, at) => seq > (at ? (other[at - 1]?.seq ?? 0) : last));
  if (isBehind) return [...one, ...other];
  const all = new Map(one.map((message) => [message.seq, message]));
  for (const message of other) {
    const known = all.get(message.seq);
    const isNewer = !known || message.version > known.version || (!message.kind && known.kind);
    if (isNewer) all.set(message.seq, message);
  }
  return [...all.values()].sort((a, b) => a.seq - b.seq);
}

/** The messages after a change of one of them. */
function changed(messages: readonly Message[], change: Message): readonly Message[] {
  const seq = rewritten(change);
  const at = seq ? messages.findIndex((one) => one.seq === seq) : -1;
  const target = messages[at];
  return target ? messages.with(at, revised(target, change)) : messages;
}
