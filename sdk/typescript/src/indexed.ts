/** Tables in IndexedDB: what a browser keeps over reloads. */

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

/** Rows in the database `timewire:<name>` of this origin. Throws `storage_unavailable`. */
export class IndexedTables implements Tables {
  private constructor(private readonly database: IDBDatabase) {}

  static async open(name: string): Promise<IndexedTables> {
    try {
      const request = indexedDB.open(`timewire:${name}`, SCHEMA_VERSION);
      request.onupgradeneeded = () => {
        for (const table of TABLES) request.result.createObjectStore(table);
      };
      const database = await answer(request);
      // Another tab deletes the database, or has a newer SDK: let it.
      database.onversionchange = () => database.close();
      return new IndexedTables(database);
    } catch (failure) {
      throw error("storage_unavailable", { reason: reasonOf(failure) });
    }
  }

  async run<Result>(
    mode: "readonly" | "readwrite",
    work: (rows: Rows) => Promise<Result>,
  ): Promise<Result> {
    try {
      const transaction = this.database.transaction(TABLES, mode);
      const end = ended(transaction);
      // Told by `end` too; who waits for the work hears of it there first.
      end.catch(() => undefined);
      const result = await attempt(transaction, work);
      await end;
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

function answer<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    // An error aborts it, too.
    transaction.onabort = () =>
      reject(transaction.error ?? new DOMException("aborted", "AbortError"));
  });
}

async function attempt<Result>(
  transaction: IDBTransaction,
  work: (rows: Rows) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(new IndexedRows(transaction));
  } catch (failure) {
    try {
      transaction.abort();
    } catch {
      // It has ended by itself: nothing of it was done.
    }
    throw failure;
  }
}

/** Writes are not waited for: what reads comes after them, and the transaction says if one fails. */
class IndexedRows implements Rows {
  constructor(private readonly transaction: IDBTransaction) {}

  get<Value>(table: Table, key: Key): Promise<Value | undefined> {
    return answer(this.#store(table).get(key as IDBValidKey));
  }

  async put(table: Table, key: Key, value: unknown): Promise<void> {
    this.#store(table).put(value, key as IDBValidKey);
  }

  async delete(table: Table, keys: Key | Range): Promise<void> {
    const which = isRange(keys) ? bounds(keys) : (keys as IDBValidKey);
    if (which !== undefined) this.#store(table).delete(which);
  }

  async clear(table: Table): Promise<void> {
    this.#store(table).clear();
  }

  async scan<Value>(
    table: Table,
    range: Range,
    { backward = false, limit = MAX_ROWS } = {},
  ): Promise<[Key, Value][]> {
    const store = this.#store(table);
    const within = bounds(range);
    if (!within) return [];
    if (backward) return descend(store.openCursor(within, "prev"), limit);
    const [keys, values] = await Promise.all([
      answer(store.getAllKeys(within, limit)),
      answer(store.getAll(within, limit)),
    ]);
    return keys.map((key, at) => [key as Key, values[at]]);
  }

  #store(table: Table): IDBObjectStore {
    return this.transaction.objectStore(table);
  }
}

/** The entries that a cursor comes by. */
function descend<Value>(
  request: IDBRequest<IDBCursorWithValue | null>,
  limit: number,
): Promise<[Key, Value][]> {
  const found: [Key, Value][] = [];
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || found.length >= limit) return resolve(found);
      found.push([cursor.key as Key, cursor.value]);
      cursor.continue();
    };
  });
}

/** The range in IndexedDB's words, which has none for an empty one. */
function bounds({ from, to }: Range): IDBKeyRange | undefined {
  if (indexedDB.cmp(from, to) >= 0) return undefined;
  return IDBKeyRange.bound(from, to, false, true);
}
