/** Tables in memory: for Node, for tests, and for devices that begin anew each time. */

import {
  isRange,
  type Key,
  type Range,
  type Rows,
  TABLES,
  type Table,
  type Tables,
} from "./tables.js";

/** Messages that are kept; further ones push out the oldest. */
export const MAX_MEMORY_MESSAGES = 100_000;

/** Rows that live as long as this object: give it to the next `connect` to go on. */
export class MemoryTables implements Tables {
  readonly #rows: MemoryRows;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(maxMessages = MAX_MEMORY_MESSAGES) {
    this.#rows = new MemoryRows(maxMessages);
  }

  run<Result>(_: "readonly" | "readwrite", work: (rows: Rows) => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(() => work(this.#rows));
    this.#turn = result.then(
      () => this.#rows.commit(),
      () => this.#rows.rollBack(),
    );
    return result;
  }

  close(): void {}
}

class MemoryRows implements Rows {
  readonly #tables = new Map<Table, Shelf>(TABLES.map((name) => [name, new Shelf()]));
  /** What takes the present transaction back, step by step. */
  #undo: (() => void)[] = [];

  constructor(private readonly maxMessages: number) {}

  commit(): void {
    this.#undo = [];
  }

  rollBack(): void {
    for (const step of this.#undo.reverse()) step();
    this.commit();
  }

  async get<Value>(table: Table, key: Key): Promise<Value | undefined> {
    return this.#shelf(table).get(key) as Value | undefined;
  }

  async put(table: Table, key: Key, value: unknown): Promise<void> {
    const shelf = this.#shelf(table);
    const was = shelf.get(key);
    shelf.put(key, structuredClone(value));
    this.#undo.push(() => (was === undefined ? shelf.delete(key) : shelf.put(key, was)));
    if (table === "messages" && shelf.size > this.maxMessages) {
      await this.delete(table, shelf.oldest);
    }
  }

  async delete(table: Table, keys: Key | Range): Promise<void> {
    const shelf = this.#shelf(table);
    const gone = isRange(keys) ? shelf.scan(keys) : [[keys, shelf.get(keys)] as const];
    for (const [key, was] of gone) {
      shelf.delete(key);
      if (was !== undefined) this.#undo.push(() => shelf.put(key, was));
    }
  }

  async clear(table: Table): Promise<void> {
    const was = this.#shelf(table);
    this.#tables.set(table, new Shelf());
    this.#undo.push(() => this.#tables.set(table, was));
  }

  async scan<Value>(
    table: Table,
    range: Range,
    { backward = false, limit = Number.POSITIVE_INFINITY } = {},
  ): Promise<[Key, Value][]> {
    return this.#shelf(table).scan(range, backward, limit) as [Key, Value][];
  }

  #shelf(table: Table): Shelf {
    return this.#tables.get(table) as Shelf;
  }
}

/** One table: values by key, in the order in which they came, and the keys in their own order. */
class Shelf {
  readonly #values = new Map<string, unknown>();
  readonly #keys: Key[] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: Key): unknown {
    return this.#values.get(JSON.stringify(key));
  }

  put(key: Key, value: unknown): void {
    const name = JSON.stringify(key);
    if (!this.#values.has(name)) this.#keys.splice(this.#place(key), 0, key);
    this.#values.set(name, value);
  }

  delete(key: Key): void {
    if (this.#values.delete(JSON.stringify(key))) this.#keys.splice(this.#place(key), 1);
  }

  /** The key that came first. There has to be one. */
  get oldest(): Key {
    return JSON.parse(this.#values.keys().next().value as string) as Key;
  }

  scan(range: Range, backward = false, limit: number = Number.POSITIVE_INFINITY): [Key, unknown][] {
    const [from, to] = [this.#place(range.from), this.#place(range.to)];
    const keys = backward
      ? this.#keys.slice(Math.max(from, to - limit), to).reverse()
      : this.#keys.slice(from, Math.min(to, from + limit));
    return keys.map((key) => [key, this.get(key)]);
  }

  /** How many keys stand before this one. */
  #place(key: Key): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.#keys[middle] as Key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function compare(one: Key, other: Key): number {
  if (typeof one === "object" && typeof other === "object") {
    for (let at = 0; at < Math.min(one.length, other.length); at++) {
      const order = compare(one[at] as Key, other[at] as Key);
      if (order) return order;
    }
    return one.length - other.length;
  }
  if (typeof one !== typeof other) return rank(one) - rank(other);
  return one < other ? -1 : one > other ? 1 : 0;
}

function rank(key: Key): number {
  return ["number", "string", "object"].indexOf(typeof key);
}
