/**
 * What a device keeps: messages, its cursor, its outbox, and which events the app has yet to see.
 *
 * The one rule: messages and the cursor that moves over them are saved together or not at all
 * (`apply`). Then a crash at any moment costs nothing: what was not saved comes again.
 */

import { Ahead } from "./ahead.js";
import { error } from "./errors.js";
import type { Arrival } from "./events.js";
import { newId, SELF } from "./names.js";
import type { Command, Cursor, Message, ResetReason } from "./protocol.js";
import { bare, begin, FINAL, heed, keep, keepNew, type Row, type Span } from "./revisions.js";
import { type Key, type Rows, type Table, type Tables, under } from "./tables.js";

/** Whose store this is: it serves one device of one user. */
export interface Owner {
  readonly user: string;
  readonly device: string;
}

/**
 * Where a device stopped: all that it needs to go on, beside the messages.
 *
 * `unread`: messages that the app has not dealt with, with their numbers, oldest first. `reset`: why
 * the device has to be rebuilt, when it was in the middle of that.
 */
export interface Saved {
  readonly owner?: Owner | undefined;
  readonly cursor?: Cursor | undefined;
  readonly reset?: ResetReason | undefined;
  readonly outbox: readonly Command[];
  readonly unread: readonly (readonly [number: number, arrival: Arrival])[];
}

/**
 * What to save in one transaction. Fields that are empty or missing change nothing.
 *
 * `settled`: ids of commands that leave the outbox. `marks` merge by maximum. `taken`: the app has
 * dealt with all unread messages up to this number. `begins`: what is kept of a conversation before
 * this SeqId may be out of date, and is not shown any more.
 *
 * `reset`: a rebuild is due, until `rebuilt`. A cursor that is only too old (`expired`) leaves the
 * messages as they are. Any other reason means that the SeqIds of this store may name other messages
 * now, so it forgets its messages and marks, before anything else of the change.
 */
export interface Change {
  owner?: Owner;
  cursor?: Cursor;
  reset?: ResetReason;
  arrivals: Arrival[];
  queued: Command[];
  settled: string[];
  marks: Map<string, number>;
  begins: Map<string, number>;
  rebuilt: boolean;
  taken: number;
}

/** A change that changes nothing. */
export function nothing(): Change {
  const lists = { arrivals: [], queued: [], settled: [] };
  return { ...lists, marks: new Map(), begins: new Map(), rebuilt: false, taken: 0 };
}

const ALL = { from: 0, to: Number.POSITIVE_INFINITY };
const FORGOTTEN: readonly Table[] = [
  "messages",
  "unread",
  "marks",
  "notes",
  "hidden",
  "expiring",
  "spans",
];

/**
 * A device's store, over tables of any kind.
 *
 * Who calls `load` is its writer from then on: `apply` of an earlier one throws `directory_in_use`,
 * so that a tab that was asleep cannot write over what another one has done since. Reading is free.
 */
export class Store {
  readonly #writer = newId();
  #user = "";
  #number = 0;
  readonly #places = new Map<string, number>();

  constructor(private readonly tables: Tables) {}

  /** Where the device stopped. */
  load(): Promise<Saved> {
    return this.tables.run("readwrite", async (rows) => {
      await rows.put("meta", "writer", this.#writer);
      const owner = await rows.get<Owner>("meta", "owner");
      this.#user = owner?.user ?? "";
      this.#number = (await rows.get<number>("meta", "number")) ?? 0;
      this.#places.clear();
      const outbox = await rows.scan<Command>("outbox", ALL);
      for (const [place, command] of outbox) this.#places.set(command.id, place as number);
      return {
        owner,
        cursor: await rows.get<Cursor>("meta", "cursor"),
        reset: await rows.get<ResetReason>("meta", "reset"),
        outbox: outbox.map(([, command]) => command),
        unread: await unread(rows),
      };
    });
  }

  /**
   * Save all of a change, or nothing. One result an arrival, in order: the number under which it is
   * unread, growing; null when the message (conversation and SeqId) was there already. Messages of
   * kind `read` move the marks too; those that change earlier ones change them here.
   */
  async apply(change: Change): Promise<(number | null)[]> {
    const [user, number] = [change.owner?.user ?? this.#user, this.#number];
    const places = new Map(this.#places);
    const numbers = await this.tables.run("readwrite", async (rows) => {
      if ((await rows.get("meta", "writer")) !== this.#writer) {
        throw error("directory_in_use", {}, "another tab has taken over");
      }
      await saveState(rows, change);
      await saveOutbox(rows, change, places);
      return saveArrivals(rows, user, number, change.arrivals);
    });
    this.#user = user;
    this.#number = Math.max(number, ...numbers.map((one) => one ?? 0));
    for (const command of change.queued) this.#places.set(command.id, places.get(command.id) ?? 0);
    for (const id of change.settled) this.#places.delete(id);
    return numbers;
  }

  /**
   * Messages below `before` (missing: from the newest), newest first, as they are now: without those
   * that the user has hidden, those that may be out of date, and what was said by expired ones.
   */
  messages(
    conversation: string,
    { before = Number.POSITIVE_INFINITY, limit = 100 } = {},
  ): Promise<Message[]> {
    return this.tables.run("readonly", async (rows) => {
      const hidden = await rows.scan("hidden", under(conversation));
      const away = new Set(hidden.map(([key]) => (key as [string, number])[1]));
      const span = await rows.get<Span>("spans", conversation);
      const range = { from: [conversation, span?.begins ?? 0], to: [conversation, before] };
      const options = { backward: true, limit: limit + away.size };
      const found = await rows.scan<Row>("messages", range, options);
      const shown = found.filter(([, { message }]) => !away.has(message.seq)).slice(0, limit);
      return shown.map(([, { message }]) =>
        isOver(message, Date.now()) ? bare(message) : message,
      );
    });
  }

  /** The commands that have no answer yet, oldest first. */
  outbox(): Promise<Command[]> {
    return this.tables.run("readonly", async (rows) =>
      (await rows.scan<Command>("outbox", ALL)).map(([, command]) => command),
    );
  }

  /** Forget what messages said whose life is over by a time (ms). */
  sweep(now: number): Promise<void> {
    return this.tables.run("readwrite", async (rows) => {
      const due = { from: [0], to: [now + 1] };
      for (const [key] of await rows.scan("expiring", due)) {
        const [, conversation, seq] = key as [number, string, number];
        const row = await rows.get<Row>("messages", [conversation, seq]);
        if (row && isOver(row.message, now)) {
          const forgotten = { message: bare(row.message), base: FINAL };
          await rows.put("messages", [conversation, seq], forgotten);
        }
      }
      await rows.delete("expiring", due);
    });
  }

  /** How far the user has read the conversation, as far as this device knows. */
  mark(conversation: string): Promise<number> {
    return this.tables.run(
      "readonly",
      async (rows) => (await rows.get<number>("marks", conversation)) ?? 0,
    );
  }

  /** Release everything. */
  close(): void {
    this.tables.close();
  }
}

async function unread(rows: Rows): Promise<[number, Arrival][]> {
  const all = await rows.scan<Unread>("unread", ALL);
  const kept = await Promise.all(all.map(([, { key }]) => rows.get<Row>("messages", key)));
  const found: [number, Arrival][] = [];
  for (const [at, [number, { type }]] of all.entries()) {
    const row = kept[at];
    if (row) found.push([number as number, { type, message: row.message }]);
  }
  return found;
}

interface Unread {
  readonly key: Key;
  readonly type: Arrival["type"];
}

async function saveState(rows: Rows, change: Change): Promise<void> {
  if (change.reset && change.reset !== "expired") {
    for (const table of FORGOTTEN) await rows.clear(table);
  }
  for (const key of ["owner", "cursor", "reset"] as const) {
    if (change[key]) await rows.put("meta", key, change[key]);
  }
  if (change.rebuilt) await rows.delete("meta", "reset");
  for (const [conversation, seq] of change.marks) await mark(rows, conversation, seq);
  for (const [conversation, seq] of change.begins) await begin(rows, conversation, seq);
  if (change.taken) await rows.delete("unread", { from: 0, to: change.taken + 1 });
}

async function saveOutbox(rows: Rows, change: Change, places: Map<string, number>): Promise<void> {
  let last = Math.max(0, ...[...places.values()].slice(-1));
  for (const command of change.queued) {
    if (places.has(command.id)) continue;
    last += 1;
    places.set(command.id, last);
    await rows.put("outbox", last, command);
  }
  for (const id of change.settled) {
    const place = places.get(id);
    if (place) await rows.delete("outbox", place);
  }
}

async function saveArrivals(
  rows: Rows,
  user: string,
  last: number,
  arrivals: readonly Arrival[],
): Promise<(number | null)[]> {
  const numbers: (number | null)[] = [];
  const ahead = new Ahead();
  await ahead.look(
    rows,
    arrivals.map(({ message }) => message),
  );
  for (const { type, message } of arrivals) {
    if (ahead.isNew(message)) {
      await keepNew(rows, message);
    } else if (!(await keep(rows, message))) {
      numbers.push(null);
      continue;
    }
    ahead.took(message);
    await heed(rows, user, message);
    const read = readMark(message);
    if (read) await mark(rows, ...read);
    numbers.push(++last);
    await rows.put("unread", last, { key: [message.conversation, message.seq], type });
  }
  if (numbers.length) await rows.put("meta", "number", last);
  return numbers;
}

async function mark(rows: Rows, conversation: string, seq: number): Promise<void> {
  const known = (await rows.get<number>("marks", conversation)) ?? 0;
  await rows.put("marks", conversation, Math.max(seq, known));
}

/** The read mark that a message carries: its conversation and SeqId. */
function readMark(message: Message): [string, number] | undefined {
  const { conversation, seq } = message.body;
  const own = message.kind === "read" && message.conversation.startsWith(SELF);
  if (own && typeof conversation === "string" && typeof seq === "number")
    return [conversation, seq];
  return undefined;
}

function isOver({ expires }: Message, now: number): boolean {
  return expires > 0 && expires <= now;
}
