/** Who is typing where, who is online, and who is a member: as far as somebody looks. */

import { signal } from "@preact/signals";
import type { Client, Event, Member } from "@timewire/client";

/** Typing is over when nothing was heard of it for so long. */
const TYPING_MS = 6_000;
/** Rosters that are remembered. */
const MAX_ROSTERS = 50;
/** Users that one connection can watch. */
const MAX_WATCHED = 500;

export interface Presence {
  readonly online: boolean;
  /** Since when the user is not online (ms); 0: not known. */
  readonly seen: number;
}

export class People {
  /** By conversation, who is typing. */
  readonly typing = signal<ReadonlyMap<string, readonly string[]>>(new Map());
  readonly presence = signal<ReadonlyMap<string, Presence>>(new Map());
  readonly rosters = signal<ReadonlyMap<string, readonly Member[]>>(new Map());
  /** From whom the user takes no messages, by name. */
  readonly blocked = signal<readonly string[]>([]);
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #watched = "";

  constructor(private readonly client: () => Client | undefined) {}

  heard(event: Event & { readonly type: "typing" | "presence" }): void {
    if (event.type === "presence") {
      const { user, online, seen } = event;
      this.presence.value = new Map(this.presence.value).set(user, { online, seen });
      return;
    }
    const { conversation, user } = event;
    const key = `${conversation} ${user}`;
    clearTimeout(this.#timers.get(key));
    this.#timers.set(
      key,
      setTimeout(() => this.stopped(conversation, user), TYPING_MS),
    );
    const now = this.typing.value.get(conversation) ?? [];
    if (!now.includes(user)) this.#type(conversation, [...now, user]);
  }

  /** A user is not typing any more: the message has come, or time has passed. */
  stopped(conversation: string, user: string): void {
    const key = `${conversation} ${user}`;
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    const now = this.typing.value.get(conversation);
    if (now?.includes(user)) {
      this.#type(
        conversation,
        now.filter((one) => one !== user),
      );
    }
  }

  /** Be told of these users' presence, in place of others. */
  watch(users: readonly string[]): void {
    const names = users.slice(0, MAX_WATCHED);
    const key = names.join("\n");
    if (key === this.#watched) return;
    this.#watched = key;
    this.client()?.watch(names);
  }

  /** Read who is in a conversation. */
  async load(conversation: string): Promise<void> {
    const roster = await this.client()?.roster(conversation);
    if (!roster) return;
    const kept = [...this.rosters.value].filter(([name]) => name !== conversation);
    this.rosters.value = new Map([...kept, [conversation, roster] as const].slice(-MAX_ROSTERS));
  }

  /** Read whom the user blocks. */
  async loadBlocked(user: string): Promise<void> {
    const blocked = await this.client()?.banned(`self:${user}`);
    if (blocked) this.blocked.value = blocked;
  }

  /** The user has blocked somebody, on whichever device, or lets them speak again. */
  block(user: string, on: boolean): void {
    const others = this.blocked.value.filter((one) => one !== user);
    this.blocked.value = on ? [...others, user].sort() : others;
  }

  #type(conversation: string, users: readonly string[]): void {
    this.typing.value = new Map(this.typing.value).set(conversation, users);
  }
}
