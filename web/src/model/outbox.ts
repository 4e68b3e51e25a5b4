/**
 * What the user has sent and the server has not confirmed yet, as it is shown.
 *
 * What was refused stays until the user has decided about it: over reloads, and in all tabs.
 */

import { signal } from "@preact/signals";
import type { Json, Message, TimewireError } from "@timewire/client";
import { elsewhere, recall, save } from "./saved";

/** Refused messages that are kept; older ones go. */
const MAX_REFUSED = 50;
/** Ids of messages that are known not to wait any more. */
const MAX_SETTLED = 1_000;

/** A message on its way. `fault`: why it will never be stored. */
export interface Waiting {
  readonly id: string;
  readonly conversation: string;
  readonly kind: string;
  readonly body: Json;
  readonly reply: number;
  readonly mentions: readonly string[];
  readonly time: number;
  readonly fault?: string;
}

export class Outbox {
  readonly waiting = signal<readonly Waiting[]>([]);
  readonly #settled = new Set<string>();
  readonly #forget: () => void;

  constructor(private readonly user: string) {
    this.#recall();
    this.#forget = elsewhere(this.#name, () => this.#recall());
  }

  add(waiting: Waiting): void {
    const { id } = waiting;
    if (this.#settled.has(id)) return;
    this.waiting.value = [...this.waiting.value.filter((one) => one.id !== id), waiting];
  }

  /** A message has come to be stored. */
  stored(message: Message): void {
    this.remove(message.id);
  }

  refused(id: string, { message }: TimewireError): void {
    if (!this.waiting.value.some((one) => one.id === id)) return;
    this.waiting.value = this.waiting.value.map((one) =>
      one.id === id ? { ...one, fault: message } : one,
    );
    this.#save();
  }

  remove(id: string): void {
    this.#settled.add(id);
    for (const first of this.#settled) {
      if (this.#settled.size > MAX_SETTLED) this.#settled.delete(first);
    }
    const gone = this.waiting.value.find((one) => one.id === id);
    if (!gone) return;
    this.waiting.value = this.waiting.value.filter((one) => one !== gone);
    if (gone.fault) this.#save();
  }

  close(): void {
    this.#forget();
  }

  #save(): void {
    const refused = this.waiting.value.filter(({ fault }) => fault).slice(-MAX_REFUSED);
    save(this.#name, refused.length ? refused : undefined);
  }

  /** Show what was refused, and no longer what another tab has dealt with. */
  #recall(): void {
    const refused = recall<Waiting[]>(this.#name) ?? [];
    const known = new Set(refused.map(({ id }) => id));
    const others = this.waiting.value.filter(({ id, fault }) => !fault && !known.has(id));
    this.waiting.value = [...refused, ...others];
  }

  get #name(): string {
    return `refused:${this.user}`;
  }
}
