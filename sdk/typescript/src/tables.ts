/** A port: where a store keeps its rows. Small enough to put any ordered key-value store behind. */

export type Key = string | number | readonly (string | number)[];

export const TABLES = [
  "messages",
  "notes",
  "hidden",
  "expiring",
  "spans",
  "unread",
  "outbox",
  "marks",
  "meta",
] as const;

export type Table = (typeof TABLES)[number];

/** Keys from `from` up to `to`, which is not included. */
export interface Range {
  readonly from: Key;
  readonly to: Key;
}

/**
 * The inside of a transaction: it ends when nothing of it is awaited. Keys are ordered as in
 * IndexedDB: numbers before texts (by UTF-16 units) before lists (part by part, the shorter first).
 */
export interface Rows {
  get<Value>(table: Table, key: Key): Promise<Value | undefined>;
  put(table: Table, key: Key, value: unknown): Promise<void>;
  delete(table: Table, keys: Key | Range): Promise<void>;
  clear(table: Table): Promise<void>;
  /** Entries of a range, in the order of their keys or from the last one on. */
  scan<Value>(
    table: Table,
    range: Range,
    options?: { readonly backward?: boolean; readonly limit?: number },
  ): Promise<[Key, Value][]>;
}

/** Rows that outlive what uses them, or not. */
export interface Tables {
  /** All that `work` does happens, or nothing. Nobody sees half of it. */
  run<Result>(
    mode: "readonly" | "readwrite",
    work: (rows: Rows) => Promise<Result>,
  ): Promise<Result>;
  /** Release everything. */
  close(): void;
}

/** Whether this names a range of keys. */
export function isRange(keys: Key | Range): keys is Range {
  return typeof keys === "object" && "from" in keys;
}

/** The keys that begin with these parts; the last part of a key is a number. */
export function under(...parts: (string | number)[]): Range {
  return { from: [...parts, 0], to: [...parts, Number.POSITIVE_INFINITY] };
}
