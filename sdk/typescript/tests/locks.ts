/** Web Locks as far as tabs use them, for a runtime that has none: exclusive, with `steal`. */

interface Options {
  readonly steal?: boolean;
  readonly signal?: AbortSignal;
}

const aborted = () => new DOMException("taken away or given up", "AbortError");

export class Locks {
  readonly #holders = new Map<string, (fault: unknown) => void>();
  readonly #waiting = new Map<string, (() => void)[]>();

  request<Result>(
    name: string,
    { steal = false, signal }: Options,
    callback: () => Promise<Result>,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const hold = () => {
        this.#holders.set(name, reject);
        // As in browsers, who asks goes on first.
        void Promise.resolve()
          .then(callback)
          .then(resolve, reject)
          .finally(() => {
            if (this.#holders.get(name) === reject) this.#release(name);
          });
      };
      if (steal) {
        this.#holders.get(name)?.(aborted());
        return hold();
      }
      if (!this.#holders.has(name)) return hold();
      const queue = this.#queue(name);
      queue.push(hold);
      signal?.addEventListener("abort", () => {
        if (!queue.includes(hold)) return;
        queue.splice(queue.indexOf(hold), 1);
        reject(aborted());
      });
    });
  }

  #release(name: string): void {
    this.#holders.delete(name);
    this.#queue(name).shift()?.();
  }

  #queue(name: string): (() => void)[] {
    const known = this.#waiting.get(name) ?? [];
    this.#waiting.set(name, known);
    return known;
  }
}
