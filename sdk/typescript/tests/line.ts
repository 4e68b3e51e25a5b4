/** Devices without a network: the test holds the other end of each connection. */

import { Backoff, type Surroundings } from "../src/backoff.js";
import type { Audience, DriverOptions } from "../src/driver.js";
import { error } from "../src/errors.js";
import { Feed } from "../src/feed.js";
import { ABNORMAL, type Ending, type Link } from "../src/link.js";
import { MemoryTables } from "../src/memory.js";
import type { ClientFrame, ServerFrame } from "../src/protocol.js";
import { Store } from "../src/store.js";
import { type TokenSource, Tokens } from "../src/tokens.js";
import { Watchers } from "../src/waiting.js";
import { live, welcome } from "./frames.js";

/** One connection, as the server sees it. */
export class End implements Link {
  readonly heard: ClientFrame[] = [];
  readonly ended: Promise<Ending>;
  probed = 0;
  #end: (ending: Ending) => void = () => {};
  readonly #news = new Watchers();

  constructor(private readonly receive: (frame: ServerFrame) => void) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  // -- the device's side

  send(frame: ClientFrame): void {
    this.heard.push(frame);
    this.#news.wake();
  }

  hangUp(): void {
    this.#end({ code: 1000, reason: "closed from here" });
  }

  probe(): void {
    this.probed += 1;
  }

  // -- the server's side

  say(...frames: ServerFrame[]): void {
    for (const frame of frames) this.receive(frame);
  }

  close(code = ABNORMAL, reason = "broke"): void {
    this.#end({ code, reason });
  }

  /** The frames of one type, when there are so many. */
  async hears<Type extends ClientFrame["type"]>(
    type: Type,
    count = 1,
  ): Promise<Extract<ClientFrame, { type: Type }>[]> {
    for (;;) {
      const found = this.heard.filter((frame) => frame.type === type);
      if (found.length >= count) return found as never;
      await this.#news.next();
    }
  }
}

/** Where devices dial. */
export class Line {
  readonly ends: End[] = [];
  /** How many of the next calls are not answered. */
  refusals = 0;
  calls = 0;
  readonly #news = new Watchers();

  readonly dial = async (receive: (frame: ServerFrame) => void): Promise<Link> => {
    this.calls += 1;
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw error("not_connected", { reason: "nobody is there" });
    }
    const end = new End(receive);
    this.ends.push(end);
    this.#news.wake();
    return end;
  };

  /** The connection with this number, when it has said hello. */
  async call(number: number): Promise<End> {
    while (this.ends.length < number) await this.#news.next();
    const end = this.ends[number - 1] as End;
    await end.hears("hello");
    return end;
  }

  /** The same, after it was told that it is live. */
  async online(number = 1, pos = "0"): Promise<End> {
    const end = await this.call(number);
    end.say(welcome(pos), live(pos));
    return end;
  }
}

/** What a page knows of its surroundings, in the test's hands. */
export class Page implements Surroundings {
  gone = false;
  seen = true;
  readonly #wakes = new Set<() => void>();

  offline = () => this.gone;
  visible = () => this.seen;

  onWake(call: () => void): () => void {
    this.#wakes.add(call);
    return () => this.#wakes.delete(call);
  }

  wake(): void {
    for (const wake of this.#wakes) wake();
  }
}

const ALONE: Audience = { shown() {}, moved() {}, ended() {} };

/** All that a driver needs; pauses are short. */
export function parts(
  line: Line,
  more: Partial<DriverOptions> & { readonly token?: TokenSource } = {},
): DriverOptions {
  const { token = "token", ...rest } = more;
  const base = { device: "laptop", dial: line.dial, audience: ALONE, surroundings: new Page() };
  const store = new Store(new MemoryTables());
  const backoff = new Backoff({ baseMs: 2, maxMs: 10 });
  return { ...base, store, feed: new Feed(), backoff, tokens: new Tokens(token), ...rest };
}
