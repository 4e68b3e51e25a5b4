/**
 * Several tabs of one browser are one device: they share its store and one connection.
 *
 * The tab that holds a lock leads: it runs the connection. The others ask it, over a channel, and
 * hear its events. When it closes, the browser hands the lock to another one, which goes on from the
 * store. Asking again does no harm: commands have ids.
 *
 *     tab ──call──> leading tab ──> server          the lock says who leads; the store lets nobody
 *     tab <─answer──      │                         write but who has taken it over last
 *      └────<──events─────┘
 */

import type { Surroundings } from "./backoff.js";
import type { Core, Signal, Standing } from "./core.js";
import type { Audience, Driver } from "./driver.js";
import { asError, error, faultOf, type PlainError, TimewireError } from "./errors.js";
import type { Event } from "./events.js";
import type { Feed, Numbered } from "./feed.js";
import { newId } from "./names.js";
import { isSame } from "./outbox.js";
import { type Ack, type Command, MAX_WATCHED_USERS, type Query } from "./protocol.js";
import type { Page } from "./session.js";
import type { Store } from "./store.js";
import { Watchers } from "./waiting.js";

/** A leading tab that says nothing for this long is asleep: a tab that is looked at takes over. */
const SILENCE_MS = 3_000;

export interface TabsOptions {
  /** The same for all tabs that are one device. */
  readonly name: string;
  readonly feed: Feed;
  readonly store: Store;
  readonly surroundings: Surroundings;
  readonly locks: LockManager;
  /** Begin to lead: take over the store and connect. */
  readonly lead: (audience: Audience) => Promise<Driver>;
}

type Ask =
  | { readonly what: "put"; readonly given: Command }
  | { readonly what: "ask"; readonly given: Query }
  | { readonly what: "tell"; readonly given: Signal };

/** What tabs say to each other. */
type Note = { readonly tab: string } & (
  | { readonly op: "hello" | "here" | "bye" }
  | { readonly op: "leads"; readonly standing: Standing }
  | { readonly op: "events"; readonly events: readonly (readonly [unknown, number])[] }
  | { readonly op: "call"; readonly call: string; readonly ask: Ask }
  | { readonly op: "answer"; readonly call: string; readonly value: unknown }
  | { readonly op: "refusal"; readonly call: string; readonly fault: PlainError }
  | { readonly op: "ended"; readonly fault: PlainError }
);

interface Call {
  readonly ask: Ask;
  readonly resolve: (value: never) => void;
  readonly reject: (fault: Error) => void;
}

/** One tab of a device. */
export class Tabs implements Core, Audience {
  readonly feed: Feed;
  readonly store: Store;
  readonly #tab = newId();
  readonly #channel: BroadcastChannel;
  readonly #calls = new Map<string, Call>();
  readonly #watched = new Map<string, readonly string[]>();
  readonly #watchers = new Watchers();
  readonly #forgetSurroundings: () => void;
  #driver: Driver | undefined;
  #leading = false;
  #closing = false;
  /** The tab that leads, when it is another one. */
  #leader = "";
  #heard: Standing = { user: "", state: "connecting", outbox: 0 };
  #silence: ReturnType<typeof setTimeout> | undefined;
  #campaign = new AbortController();
  #resign: () => void = () => {};
  #fault: Error | undefined;

  constructor(private readonly options: TabsOptions) {
    this.feed = options.feed;
    this.store = options.store;
    this.#channel = new BroadcastChannel(`timewire:${options.name}`);
    this.#channel.onmessage = ({ data }: { data: Note }) => this.#hear(data);
    this.#forgetSurroundings = options.surroundings.onWake(() => this.#doubt());
    void this.#stand(false);
    this.#doubt();
  }

  get standing(): Standing {
    const standing = this.#driver?.standing ?? this.#heard;
    const puts = [...this.#calls.values()].filter(({ ask }) => ask.what === "put").length;
    return { ...standing, outbox: Math.max(standing.outbox, puts) };
  }

  get trouble(): string {
    return this.#driver?.trouble ?? "no tab has a connection";
  }

  put(command: Command): Promise<Ack> {
    return this.#call({ what: "put", given: command });
  }

  ask(query: Query): Promise<Page> {
    return this.#call({ what: "ask", given: query });
  }

  tell(signal: Signal): void {
    if (this.#fault) throw this.#fault;
    if (signal.type === "watch") this.#watched.set(this.#tab, signal.users);
    void this.#call({ what: "tell", given: signal }).catch(() => undefined);
  }

  async until(condition: (standing: Standing) => boolean): Promise<void> {
    while (!this.#fault && !condition(this.standing)) await this.#watchers.next();
    if (this.#fault) throw this.#fault;
  }

  async stop(): Promise<void> {
    this.#closing = true;
    await this.#driver?.stop();
    this.#say({ op: "bye" });
    this.#end(error("closed", {}, "this device is closed; what it has queued goes out next time"));
  }

  // -- leading ------------------------------------------------------------------------------------

  /** Wait for the lock, or take it; lead for as long as it is held; and again. */
  async #stand(steal: boolean): Promise<void> {
    const name = `timewire:${this.options.name}`;
    const { signal } = this.#campaign;
    try {
      await this.options.locks.request(name, steal ? { steal } : { signal }, () => this.#lead());
    } catch (failure) {
      // Given up for another attempt, or taken away by another tab; all else is real.
      if ((failure as Error)?.name !== "AbortError") return this.#end(asError(failure));
      if (signal.aborted && !steal) return;
    }
    await this.#stepDown();
    if (!this.#fault && !this.#closing) void this.#stand(false);
  }

  async #lead(): Promise<void> {
    if (this.#fault || this.#closing) return;
    this.#leading = true;
    const over = new Promise<void>((resolve) => {
      this.#resign = resolve;
    });
    const own = this.#watched.get(this.#tab);
    this.#watched.clear();
    if (own) this.#watched.set(this.#tab, own);
    const driver = await this.options.lead(this);
    this.#driver = driver;
    this.#say({ op: "leads", standing: driver.standing });
    this.#repeat();
    if (!this.#fault) await over;
    await driver.stop();
  }

  async #stepDown(): Promise<void> {
    const driver = this.#driver;
    this.#driver = undefined;
    this.#leading = false;
    this.#leader = "";
    this.#resign();
    await driver?.stop();
    this.#doubt();
  }

  shown(events: readonly Numbered[]): void {
    this.#say({ op: "events", events: events.map(([event, number]) => [plain(event), number]) });
  }

  moved(standing: Standing): void {
    if (!this.#driver) return;
    if (!isSame(standing, this.#heard)) {
      this.#say({ op: "leads", standing });
      this.#heard = standing;
    }
    this.#watchers.wake();
  }

  ended(fault: Error | undefined): void {
    const deposed = fault instanceof TimewireError && fault.code === "directory_in_use";
    if (fault && !deposed) {
      this.#say({ op: "ended", fault: plainFault(fault) });
      this.#end(fault);
    }
    this.#resign();
  }

  // -- following ----------------------------------------------------------------------------------

  #call<Result>(ask: Ask): Promise<Result> {
    const call = newId();
    return new Promise<Result>((resolve, reject) => {
      if (this.#fault) return reject(this.#fault);
      this.#calls.set(call, { ask, resolve, reject });
      this.#place(call, ask);
    });
  }

  /** Have a call of this tab answered by who leads, if there is somebody. */
  #place(call: string, ask: Ask): void {
    if (this.#driver) void this.#serve(this.#tab, call, ask);
    else if (this.#leader) this.#say({ op: "call", call, ask });
  }

  /** There is another leader: what has no answer is asked again. */
  #repeat(): void {
    for (const [call, { ask }] of this.#calls) this.#place(call, ask);
    const users = this.#watched.get(this.#tab);
    if (users) this.tell({ type: "watch", users });
  }

  /** Answer a call of a tab, as the leader. */
  async #serve(tab: string, call: string, ask: Ask): Promise<void> {
    const driver = this.#driver;
    if (!driver) return;
    try {
      const value = await this.#perform(driver, tab, ask);
      if (tab === this.#tab) this.#settle(call, value);
      else this.#say({ op: "answer", call, value });
    } catch (failure) {
      // Who comes after this tab answers.
      if (driver !== this.#driver || (failure as TimewireError).code === "directory_in_use") return;
      if (tab === this.#tab) this.#settle(call, asError(failure));
      else this.#say({ op: "refusal", call, fault: plainFault(asError(failure)) });
    }
  }

  async #perform(driver: Driver, tab: string, { what, given }: Ask): Promise<unknown> {
    if (what === "put") return driver.put(given);
    if (what === "ask") return driver.ask(given);
    if (given.type === "watch") this.#watched.set(tab, given.users);
    driver.tell(given.type === "watch" ? this.#union() : given);
    return undefined;
  }

  /** All that one of the tabs wants to watch. */
  #union(): Signal {
    const users = [...new Set([...this.#watched.values()].flat())];
    return { type: "watch", users: users.slice(0, MAX_WATCHED_USERS) };
  }

  #settle(call: string, outcome: unknown): void {
    const known = this.#calls.get(call);
    this.#calls.delete(call);
    if (outcome instanceof Error) known?.reject(outcome);
    else known?.resolve(outcome as never);
    this.#watchers.wake();
  }

  // -- the channel --------------------------------------------------------------------------------

  #hear(note: Note): void {
    switch (note.op) {
      case "hello":
        if (!this.#leading) return;
        if (!this.#driver) return this.#say({ op: "here" });
        return this.#say({ op: "leads", standing: this.standing });
      case "here":
        return clearTimeout(this.#silence);
      case "bye":
        if (!this.#watched.delete(note.tab)) return;
        return this.#driver?.tell(this.#union());
      case "leads":
        return this.#follow(note.tab, note.standing);
      case "events":
        return this.feed.overhear(note.events.map(([event, n]) => [revived(event), n]));
      case "call":
        return void this.#serve(note.tab, note.call, note.ask);
      case "answer":
        return this.#settle(note.call, note.value);
      case "refusal":
        return this.#settle(note.call, faultOf(note.fault));
      case "ended":
        return this.#end(faultOf(note.fault));
    }
  }

  #follow(tab: string, standing: Standing): void {
    if (this.#leading) return;
    clearTimeout(this.#silence);
    const isNew = this.#leader !== tab;
    this.#leader = tab;
    this.#heard = standing;
    if (isNew) this.#repeat();
    this.#watchers.wake();
  }

  /** Is somebody leading? A tab that is looked at takes over from one that is asleep. */
  #doubt(): void {
    if (this.#leading || this.#closing || this.#fault) return;
    this.#say({ op: "hello" });
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      if (this.#leading || this.#fault || !this.options.surroundings.visible()) return;
      this.#campaign.abort();
      this.#campaign = new AbortController();
      void this.#stand(true);
    }, SILENCE_MS);
  }

  #say(note: Said): void {
    if (!this.#fault) this.#channel.postMessage({ ...note, tab: this.#tab });
  }

  #end(fault: Error): void {
    if (this.#fault) return;
    this.#fault = fault;
    clearTimeout(this.#silence);
    this.#forgetSurroundings();
    this.#channel.close();
    this.#campaign.abort();
    this.#resign();
    this.feed.finish(this.#closing ? undefined : fault);
    for (const call of this.#calls.values()) call.reject(fault);
    this.#calls.clear();
    this.#watchers.wake();
  }
}

/** A note without its tab. */
type Said = Note extends infer One ? (One extends Note ? Omit<One, "tab"> : never) : never;

/** An event as it travels between tabs. */
function plain(event: Event): unknown {
  return event.type === "refused" ? { ...event, error: event.error.plain() } : event;
}

function revived(given: unknown): Event {
  const event = given as Event;
  return event.type === "refused" ? { ...event, error: faultOf(event.error) } : event;
}

function plainFault(fault: Error): PlainError {
  if (fault instanceof TimewireError) return fault.plain();
  return { code: "not_connected", message: fault.message, fields: {}, retry: true };
}
