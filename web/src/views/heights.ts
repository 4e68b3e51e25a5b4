/** Where the rows of a long list stand, when the heights of most of them are only guessed. */

export type Key = string | number;

/** Heights by key: measured ones, and the mean of those for all others. */
export class Heights {
  readonly #known = new Map<Key, number>();
  #sum = 0;
  #keys: readonly Key[] = [];
  #tops = new Float64Array(1);
  #places: Map<Key, number> | undefined;

  constructor(private readonly guess: number) {}

  /** Lay out these rows, in this order. */
  arrange(keys: readonly Key[]): void {
    const other = this.#known.size ? this.#sum / this.#known.size : this.guess;
    this.#keys = keys;
    this.#places = undefined;
    this.#tops = new Float64Array(keys.length + 1);
    let top = 0;
    for (let at = 0; at < keys.length; at++) {
      this.#tops[at] = top;
      top += this.#known.get(keys[at] as Key) ?? other;
    }
    this.#tops[keys.length] = top;
  }

  /** A row was measured; whether it is news. `arrange` again after news. */
  measure(key: Key, height: number): boolean {
    const known = this.#known.get(key);
    if (known !== undefined && Math.abs(known - height) < 0.5) return false;
    this.#known.set(key, height);
    this.#sum += height - (known ?? 0);
    return true;
  }

  get count(): number {
    return this.#keys.length;
  }

  /** The height of all rows. */
  get total(): number {
    return this.top(this.count);
  }

  /** Where a row begins, by its place. */
  top(at: number): number {
    return this.#tops[Math.max(0, Math.min(at, this.count))] ?? 0;
  }

  key(at: number): Key | undefined {
    return this.#keys[at];
  }

  /** The place of a row; undefined when it is not in the list. */
  place(key: Key): number | undefined {
    this.#places ??= new Map(this.#keys.map((one, at) => [one, at]));
    return this.#places.get(key);
  }

  /** The place of the row that covers a height; the nearest one outside of the list. */
  at(height: number): number {
    let [low, high] = [0, Math.max(0, this.count - 1)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
