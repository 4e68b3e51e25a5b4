/** How far others have read what the user has said, asked for where the user looks. */

import { signal } from "@preact/signals";
import type { Client } from "@timewire/client";

/** Who has read the user's message `seq`, and so all before it. */
export interface ReadMark {
  readonly seq: number;
  readonly by: readonly string[];
}

export class Reads {
  readonly marks = signal<ReadonlyMap<string, readonly ReadMark[]>>(new Map());
  readonly #asking = new Set<string>();

  constructor(private readonly client: () => Client | undefined) {}

  /** Ask who has read a message of the user's. Where that is not told, nothing is shown. */
  async ask(conversation: string, seq: number): Promise<void> {
    const client = this.client();
    if (!client || this.#asking.has(conversation)) return;
    this.#asking.add(conversation);
    try {
      const by = await client.readBy(conversation, seq);
      const others = (this.marks.value.get(conversation) ?? []).filter(
        (mark) => mark.seq < seq && mark.by.length > by.length,
      );
      const marks = [...others, { seq, by }];
      this.marks.value = new Map(this.marks.value).set(conversation, marks);
    } catch {
      // Groups that are too large do not say.
    } finally {
      this.#asking.delete(conversation);
    }
  }

  /** How many have surely read a message, by what is known of it and of later ones. */
  count(conversation: string, seq: number): number {
    const marks = this.marks.value.get(conversation) ?? [];
    return Math.max(0, ...marks.filter((mark) => mark.seq >= seq).map(({ by }) => by.length));
  }
}
