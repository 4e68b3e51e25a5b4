/**
 * Reading ahead: about which messages of a page something is kept already.
 *
 * Each answer of IndexedDB takes its time, and of what is new there is nothing to be read. So it is
 * asked once for a page what is there, and not four times for each message.
 */

import type { Message } from "./protocol.js";
import type { Rows, Table } from "./tables.js";

/** What is kept about a message: the keys of these begin with its conversation and its SeqId. */
const ABOUT: readonly Table[] = ["messages", "hidden", "notes"];

/** Of a conversation with fewer messages in a page, each is looked up by itself. */
const MIN_TOGETHER = 4;
/** So is each where more than this is kept between the first and the last message of a page. */
const MAX_AHEAD_ROWS = 500;

/** What is known of a page of messages, without looking again. */
export class Ahead {
  /** By conversation that was looked at, the SeqIds about which something is kept. */
  readonly #kept = new Map<string, Set<number>>();

  /** Look at what is kept about these messages. */
  async look(rows: Rows, messages: readonly Message[]): Promise<void> {
    const pages = new Map<string, number[]>();
    for (const { conversation, seq } of messages) {
      pages.set(conversation, [...(pages.get(conversation) ?? []), seq]);
    }
    for (const [conversation, seqs] of pages) {
      if (seqs.length < MIN_TOGETHER) continue;
      const [from, to] = [Math.min(...seqs), Math.max(...seqs) + 1];
      const range = { from: [conversation, from], to: [conversation, to] };
      const scan = (table: Table) => rows.scan(table, range, { limit: MAX_AHEAD_ROWS });
      const found = await Promise.all(ABOUT.map(scan));
      if (found.some(({ length }) => length === MAX_AHEAD_ROWS)) continue;
      const kept = found.flat().map(([key]) => (key as [string, number])[1]);
      this.#kept.set(conversation, new Set(kept));
    }
  }

  /** Whether nothing is kept about a message of the page. */
  isNew({ conversation, seq }: Message): boolean {
    return this.#kept.get(conversation)?.has(seq) === false;
  }

  /** A message is kept now, and whatever it says about another one. */
  took({ conversation, seq, body }: Message): void {
    this.#kept
      .get(conversation)
      ?.add(seq)
      .add(body.seq as number);
    this.#kept.get(body.conversation as string)?.add(body.seq as number);
  }
}
