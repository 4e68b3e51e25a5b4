/**
 * The events on their way to the app: a queue with one reader, and how far the reader has come.
 *
 * An event has been dealt with when the app asks for the next one. So an app that breaks off in the
 * middle of one finds it again after a restart, and none is lost.
 */

import { type Event, isArrival, isNews } from "./events.js";
import { MAX_UNREAD_EVENTS } from "./session.js";

/** Events that are soon stale which may wait; further ones are dropped. */
export const MAX_NEWS_EVENTS = 1_000;

/** An event, and the number under which the store keeps it (0: it does not). */
export type Numbered = readonly [event: Event, number: number];

/** An endless async iterator of events. */
export class Feed implements AsyncIterableIterator<Event> {
  /** The number of the last message that the app has dealt with. */
  taken = 0;
  /** Messages that wait. */
  unread = 0;
  /** Called whenever the app has taken an event or, with everything dealt with, begins to wait. */
  progress: () => void = () => {};
  #queue: Numbered[] = [];
  #newest = 0;
  #inHand = 0;
  #missed = false;
  #over = false;
  #fault: Error | undefined;
  #wake: () => void = () => {};

  /** Whether nothing waits for the app. */
  get idle(): boolean {
    return this.#queue.length === 0;
  }

  /** Add events. Messages that came before, from another tab, are not repeated. */
  put(events: readonly Numbered[]): void {
    for (const [event, number] of events) {
      if (number && number <= this.#newest) continue;
      if (number) this.#newest = number;
      if (isNews(event) && this.#queue.length - this.unread >= MAX_NEWS_EVENTS) continue;
      if (isArrival(event)) this.unread += 1;
      this.#queue.push([event, number]);
    }
    this.#wake();
  }

  /**
   * Add events of another tab's connection, which cannot be held up by this app: one that does not
   * read its events for long is told that it has missed some, as after a reset.
   */
  overhear(events: readonly Numbered[]): void {
    if (!this.#missed && this.unread + events.length > MAX_UNREAD_EVENTS) {
      this.#missed = true;
      this.put([[{ type: "reset", reason: "expired" }, 0]]);
    }
    if (!this.#missed) this.put(events);
  }

  /** No more events come; the reader ends, or gets the fault, after those that wait. */
  finish(fault?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#fault = fault;
    this.#wake();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Event>> {
    this.taken = Math.max(this.taken, this.#inHand);
    while (this.idle) {
      this.#missed = false;
      this.progress();
      if (this.#over && this.#fault) throw this.#fault;
      if (this.#over) return { done: true, value: undefined };
      if (this.idle)
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
    const [event, number] = this.#queue.shift() as Numbered;
    if (number) this.#inHand = number;
    if (isArrival(event)) this.unread -= 1;
    this.progress();
    return { done: false, value: event };
  }
}
