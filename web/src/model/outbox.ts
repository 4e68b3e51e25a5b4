/** What the user has sent and the server has not confirmed yet, as it is shown. */

import { signal } from "@preact/signals";
import type { Json, Message, TimewireError } from "@timewire/client";

/** A message on its way. `fault`: why it will never be stored. */
export interface Waiting {
  readonly id: string;
  readonly conversation: string;
  readonly kind: string;
  readonly body: Json;
  readonly reply: number;
  readonly time: number;
  readonly fault?: TimewireError;
}

export class Outbox {
  readonly waiting = signal<readonly Waiting[]>([]);

  add(waiting: Waiting): void {
    this.waiting.value = [...this.waiting.value.filter(({ id }) => id !== waiting.id), waiting];
  }

  /** A message has come to be stored. */
  stored(message: Message): void {
    this.remove(message.id);
  }

  refused(id: string, fault: TimewireError): void {
    this.waiting.value = this.waiting.value.map((one) => (one.id === id ? { ...one, fault } : one));
  }

  remove(id: string): void {
    const rest = this.waiting.value.filter((one) => one.id !== id);
    if (rest.length < this.waiting.value.length) this.waiting.value = rest;
  }
}
