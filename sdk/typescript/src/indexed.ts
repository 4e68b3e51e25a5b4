/** Tables in IndexedDB: what a browser keeps over reloads. */

import { type IDBPDatabase, type IDBPTransaction, openDB } from "idb";
import { error, reasonOf } from "./errors.js";
import {
  isRange,
  type Key,
  type Range,
  type Rows,
  TABLES,
  type Table,
  type Tables,
} from "./tables.js";

const SCHEMA_VERSION = 1;

/** What IndexedDB takes for "all". */
const MAX_ROWS = 2 ** 32 - 1;

type Mode = "readonly" | "readwrite";

/** Rows in the database `timewire:<name>` of this origin. Throws `storage_unavailable`. */
export class IndexedTables implements Tables {
  private constructor(private readonly database: IDBPDatabase) {}

  static async open(name: string): Promise<IndexedTables> {
    try {
      const database = await openDB(`timewire:${name}`, SCHEMA_VERSION, {
        upgrade(made) {
          for (const table of TABLES) made.createObjectStore(table);
        },
        // Another tab deletes the database, or has a newer SDK: let it.
        blocking: (_, __, event) => (event.target as IDBDatabase).close(),
      });
      return new IndexedTables(database);
    } catch (failure) {
      throw error("storage_unavailable", { reason: reasonOf(failure) });
    }
  }

  async run<Result>(mode: Mode, work: (rows: Rows) => Promise<Result>): Promise<Result> {
    try {
      const transaction = this.database.transaction(TABLES, mode);
      // Told by `done` too; who waits for the work hears of it there first.
      transaction.done.catch(() => undefined);
      const result = await attempt(transaction, work);
      await transaction.done;
      return result;
    } catch (failure) {
      if (!(failure instanceof DOMException)) throw failure;
      throw error("storage_unavailable", { reason: reasonOf(failure) });
    }
  }

  close(): void {
    this.database.close();
  }
}

type Transaction = IDBPTransaction<unknown, typeof TABLES, Mode>;

async function attempt<Result>(
  transaction: Transaction,
  work: (rows: Rows) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(new IndexedRows(transaction as Writing));
  } catch (failure) {
    try {
      transaction.abort();
    } catch {
      // It has ended by itself: nothing of it was done.
    }
    throw failure;
  }
}

type Writing = IDBPTransaction<unknown, typeof TABLES, "readwrite">;

/** Writes are not waited for: what reads comes after them, and the transaction says if one fails. */
class IndexedRows implements Rows {
  constructor(private readonly transaction: Writing) {}

  async get<Value>(table: Table, key: Key): Promise<Value | undefined> {
    return this.transaction.objectStore(table).get(key as IDBValidKey);
  }

  async put(table: Table, key: Key, value: unknown): Promise<void> {
    later(this.transaction.objectStore(table).put(value, key as IDBValidKey));
  }

  async delete(table: Table, keys: Key | Range): Promise<void> {
    const which = isRange(keys) ? bounds(keys) : (keys as IDBValidKey);
    if (which !== undefined) later(this.transaction.objectStore(table).delete(which));
  }

  async clear(table: Table): Promise<void> {
    later(this.transaction.objectStore(table).clear());
  }

  async scan<Value>(
    table: Table,
    range: Range,
    { backward = false, limit = Number.POSITIVE_INFINITY } = {},
  ): Promise<[Key, Value][]> {
    const store = this.transaction.objectStore(table);
    const within = bounds(range);
    if (!within) return [];
    if (!backward) {
      const most = Math.min(limit, MAX_ROWS);
      const [keys, values] = await Promise.all([
        store.getAllKeys(within, most),
        store.getAll(within, most),
      ]);
      return keys.map((key, at) => [key as Key, values[at] as Value]);
    }
    const found: [Key, Value][] = [];
    let cursor = await store.openCursor(within, "prev");
    while (cursor && found.length < limit) {
      found.push([cursor.key as Key, cursor.value as Value]);
      cursor = await cursor.continue();
    }
    return found;
  }
}

function later(request: Promise<unknown>): void {
  request.catch(() => undefined);
}

/** The range in IndexedDB's words, which has none for an empty one. */
function bounds({ from, to }: Range): IDBKeyRange | undefined {
  if (indexedDB.cmp(from, to) >= 0) return undefined;
  return IDBKeyRange.bound(from, to, false, true);
}
