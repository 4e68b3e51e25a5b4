/** Runs a session: connects it again and again, and does what it says with store, link and clock. */

import { type Backoff, Sleeper, type Surroundings, toldPauseMs } from "./backoff.js";
import type { Core, Signal, Standing } from "./core.js";
import { asError, error, TimewireError } from "./errors.js";
import { type Event, isArrival } from "./events.js";
import type { Feed, Numbered } from "./feed.js";
import { ABNORMAL, type Dial, type Ending, type Link } from "./link.js";
import { newId } from "./names.js";
import type { Ack, Command, Message, Query, ServerFrame } from "./protocol.js";
import { rebuild } from "./rebuild.js";
import {
  type Answer,
  type Effects,
  LOW_UNREAD_EVENTS,
  type Page,
  RENEW_AGAIN_MS,
  Session,
} from "./session.js";
import { type Change, nothing, type Saved, type Store } from "./store.js";
import type { Tokens } from "./tokens.js";
import { Slots, Watchers } from "./waiting.js";

/** Queries that are asked at the same time; others wait their turn. */
const MAX_QUERIES_IN_FLIGHT = 16;

export interface DriverOptions {
  readonly device: string;
  readonly kind?: string | undefined;
  readonly tokens: Tokens;
  readonly dial: Dial;
  readonly store: Store;
  readonly feed: Feed;
  readonly backoff: Backoff;
  readonly surroundings: Surroundings;
  readonly audience: Audience;
}

/** Who is told how things go, after the device's own feed. */
export interface Audience {
  /** Events that are saved and in the feed. */
  shown(events: readonly Numbered[]): void;
  /** The device stands elsewhere now. */
  moved(standing: Standing): void;
  /** Nothing goes on from here: the device was stopped, or this has ended it. */
  ended(fault: Error | undefined): void;
}

/** The longest time that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

type Waiter = { resolve: (answer: never) => void; reject: (fault: Error) => void };

/** One device at work, until it is stopped. */
export class Driver implements Core {
  trouble = "no answer yet";
  readonly store: Store;
  readonly feed: Feed;
  readonly #session: Session;
  readonly #sleeper = new Sleeper();
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #slots = new Slots(MAX_QUERIES_IN_FLIGHT);
  readonly #watchers = new Watchers();
  readonly #forgetSurroundings: () => void;
  #link: Link | undefined;
  #attempts = 0;
  /** How long the server has asked to stay away. */
  #toldMs = 0;
  #pauses = 0;
  #flushed = 0;
  #saving = 0;
  #rebuilds = 0;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #planned = false;
  #stopping = false;
  #stopped: Promise<void> | undefined;
  #work: Promise<void> | undefined;
  #fault: Error | undefined;
  /** How the device stood when its app was told last. */
  #told: Standing;

  private constructor(
    private readonly options: DriverOptions,
    saved: Saved,
  ) {
    this.store = options.store;
    this.feed = options.feed;
    this.#session = new Session(saved, options.device, options.kind);
    this.#told = this.#now();
    this.feed.progress = () => this.#progress();
    this.#show(saved.unread.map(([number, event]) => [event, number]));
    this.#forgetSurroundings = options.surroundings.onWake(() => {
      this.#sleeper.wake();
      this.#link?.probe();
    });
  }

  /** Take over the store, and begin to connect. Throws `wrong_store`. */
  static async start(options: DriverOptions): Promise<Driver> {
    const saved = await options.store.load();
    await options.store.sweep(Date.now());
    const driver = new Driver(options, saved);
    driver.#act();
    void driver.#run(() => driver.#connections());
    return driver;
  }

  // -- for the app --------------------------------------------------------------------------------

  get standing(): Standing {
    return { ...this.#told, outbox: Math.max(this.#told.outbox, this.#session.outbox) };
  }

  async put(command: Command): Promise<Ack> {
    this.#check();
    this.#session.put(command);
    const answer = this.#expect<Ack>(command.id);
    this.#act();
    return answer;
  }

  async ask(query: Query): Promise<Page> {
    return this.#slots.hold(() => {
      this.#check();
      const answer = this.#expect<Page>(query.id);
      this.#session.ask(query);
      this.#act();
      return answer;
    });
  }

  tell(signal: Signal): void {
    this.#check();
    if (signal.type === "typing") this.#session.typing(signal.conversation);
    else this.#session.watch({ ...signal, id: newId() });
    this.#act();
  }

  async until(condition: (standing: Standing) => boolean): Promise<void> {
    while (!this.#fault && !condition(this.standing)) await this.#watchers.next();
    this.#check();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#shutDown();
    return this.#stopped;
  }

  async #shutDown(): Promise<void> {
    const link = this.#link;
    // What was asked for until now is kept; what comes from here on comes again next time.
    this.#stopping = true;
    this.#act();
    await this.#work;
    this.#end(error("closed", {}, "this device is closed; what it has queued goes out next time"));
    if (this.feed.taken > this.#flushed) {
      // Another tab may have taken the store over: then it is its own business.
      await this.store.apply({ ...nothing(), taken: this.feed.taken }).catch(() => undefined);
    }
    await link?.ended;
  }

  #check(): void {
    if (this.#fault) throw this.#fault;
  }

  #progress(): void {
    if (this.#fault) return;
    this.#session.taken(this.#unread());
    this.#act();
  }

  /** Messages that wait for the app, or are on their way to it. */
  #unread(): number {
    return this.feed.unread + this.#saving + this.#session.unsaved;
  }

  // -- connections --------------------------------------------------------------------------------

  async #connections(): Promise<void> {
    while (!this.#fault) {
      if (await this.#connection()) continue;
      const { backoff, surroundings } = this.options;
      const away = surroundings.offline();
      const ms = away ? backoff.longestMs : this.#toldMs + backoff.pauseMs(this.#attempts);
      await this.#sleeper.sleep(ms);
      this.#attempts += 1;
    }
  }

  /** One connection from beginning to end; whether it ended because this side wanted it. */
  async #connection(): Promise<boolean> {
    this.#planned = false;
    let ending: Ending;
    try {
      const token = await this.options.tokens.get();
      ending = await this.#converse(
        token,
        await this.options.dial((frame) => this.#receive(frame)),
      );
    } catch (failure) {
      if (!(failure instanceof TimewireError && failure.retry)) throw failure;
      ending = { code: ABNORMAL, reason: String(failure.fields.reason ?? failure.message) };
    }
    if (this.#fault) return true;
    this.#toldMs = toldPauseMs(ending.code, ending.reason);
    const [advice, fault] = this.#session.closed(ending.code, ending.reason);
    if (!this.#planned) this.trouble = ending.reason;
    this.#act();
    if (advice === "stop") throw fault;
    if (advice === "renew" && !this.options.tokens.renew()) throw fault;
    return this.#planned;
  }

  async #converse(token: string, link: Link): Promise<Ending> {
    if (this.#fault) link.hangUp();
    this.#link = link;
    this.#session.opened(token);
    this.#act();
    const ending = await link.ended;
    this.#link = undefined;
    return ending;
  }

  #receive(frame: ServerFrame): void {
    if (this.#fault || this.#stopping) return;
    try {
      this.#session.receive(frame);
    } catch (fault) {
      return this.#end(asError(fault));
    }
    this.#act();
  }

  // -- effects ------------------------------------------------------------------------------------

  /** Have done what the session says: one transaction after the other, all that is there in each. */
  #act(): void {
    this.#work ??= this.#run(() => this.#effect());
  }

  async #effect(): Promise<void> {
    try {
      // What else this turn brings is done together with it.
      await undefined;
      // Nothing may come between finding nothing to do and the end: nobody would do it.
      for (let idle = false; !idle && !this.#fault; ) {
        const link = this.#link;
        const standing = this.#now();
        const effects = this.#session.effects();
        this.#flush(effects.change);
        idle = isEmpty(effects);
        if (!idle) await this.#settle(effects, link);
        this.#told = standing;
        this.options.audience.moved(this.standing);
        this.#watchers.wake();
      }
    } finally {
      this.#work = undefined;
    }
  }

  async #settle(effects: Effects, link: Link | undefined): Promise<void> {
    this.#saving = effects.change.arrivals.length;
    const numbers = isNothing(effects.change) ? [] : await this.store.apply(effects.change);
    this.#saving = 0;
    this.#show(numberedEvents(effects.events, numbers));
    // What the store knew already is not shown: nobody waits for it, so more may come.
    this.#session.taken(this.#unread());
    for (const [id, answer] of effects.answers) this.#answer(id, answer);
    this.#transmit(effects, link);
    if (effects.pause) void this.#run(() => this.#rest(effects.pauseMs));
    if (effects.rebuild) void this.#run(() => this.#rebuild());
    if (effects.renewMs) this.#renewIn(effects.renewMs);
    const { state } = this.#session;
    if (state === "live" || state === "reset") {
      this.#attempts = 0;
      this.options.tokens.accepted();
    }
  }

  #now(): Standing {
    const { user, state, outbox } = this.#session;
    return { user, state, outbox };
  }

  /** Let the store forget what the app has dealt with, when it has work anyhow or the app waits. */
  #flush(change: Change): void {
    if (this.feed.taken > this.#flushed && (this.feed.idle || !isNothing(change))) {
      change.taken = this.#flushed = this.feed.taken;
    }
  }

  #show(events: readonly Numbered[]): void {
    this.feed.put(events);
    if (events.length) this.options.audience.shown(events);
  }

  #transmit(effects: Effects, link: Link | undefined): void {
    // What was meant for a connection is never said on the next one.
    if (!link || link !== this.#link) return;
    for (const frame of effects.frames) link.send(frame);
    if (effects.reconnect) {
      this.#planned = true;
      link.hangUp();
    }
  }

  #answer(id: string, answer: Answer): void {
    const waiters = this.#waiters.get(id) ?? [];
    this.#waiters.delete(id);
    if (answer instanceof TimewireError) {
      for (const waiter of waiters) waiter.reject(answer);
    } else {
      this.#pauses = 0;
      for (const waiter of waiters) waiter.resolve(answer as never);
    }
  }

  #expect<Result>(id: string): Promise<Result> {
    const answer = new Promise<Result>((resolve, reject) => {
      this.#waiters.set(id, [...(this.#waiters.get(id) ?? []), { resolve, reject }]);
    });
    // A refusal that nobody waits for is told by an event.
    answer.catch(() => undefined);
    return answer;
  }

  // -- tasks --------------------------------------------------------------------------------------

  /** The pause that a busy server asks for. */
  async #rest(toldMs: number): Promise<void> {
    const ms = toldMs + this.options.backoff.pauseMs(this.#pauses);
    this.#pauses += 1;
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (this.#fault) return;
    this.#session.resume();
    this.#act();
  }

  #renewIn(ms: number): void {
    clearTimeout(this.#renewal);
    if (this.#fault || !this.options.tokens.renewable) return;
    const renew = () => void this.#run(() => this.#renew());
    this.#renewal = setTimeout(renew, Math.min(ms, MAX_TIMER_MS));
  }

  /** Get a newer token, some time before the one in use expires. */
  async #renew(): Promise<void> {
    const token = await this.options.tokens.fresh().catch(() => undefined);
    // The one in use holds for a while yet; what ends it is the server.
    if (token === undefined) return this.#renewIn(RENEW_AGAIN_MS);
    this.#session.renew(token);
    this.#act();
  }

  async #rebuild(): Promise<void> {
    // Another reset begins another rebuild, and this one has no say any more.
    this.#rebuilds += 1;
    const turn = this.#rebuilds;
    const fetched = async (
      messages: readonly Message[],
      marks: ReadonlyMap<string, number>,
      begins: ReadonlyMap<string, number>,
    ) => {
      if (turn !== this.#rebuilds) return;
      this.#session.fetched(messages, marks, begins);
      this.#act();
      await this.until(() => this.feed.unread <= LOW_UNREAD_EVENTS);
    };
    await rebuild((query) => this.ask(query), this.store, this.#session.user, fetched);
    if (turn !== this.#rebuilds) return;
    this.#session.rebuilt();
    this.#act();
  }

  #run(task: () => Promise<void>): Promise<void> {
    return task().catch((fault) => this.#end(asError(fault)));
  }

  /** Nothing goes on from here: tell everybody who waits. */
  #end(fault: Error): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.#forgetSurroundings();
    clearTimeout(this.#renewal);
    this.feed.progress = () => {};
    for (const waiters of this.#waiters.values()) for (const one of waiters) one.reject(fault);
    this.#waiters.clear();
    this.options.audience.ended(this.#stopping ? undefined : fault);
    this.#watchers.wake();
    this.#sleeper.wake();
    this.#link?.hangUp();
  }
}

/** Events with their numbers, without messages that were there already. */
function numberedEvents(events: readonly Event[], numbers: readonly (number | null)[]): Numbered[] {
  const shown: Numbered[] = [];
  let at = 0;
  for (const event of events) {
    const number = isArrival(event) ? numbers[at++] : 0;
    if (number != null) shown.push([event, number]);
  }
  return shown;
}

function isEmpty({ change, ...rest }: Effects): boolean {
  return isNothing(change) && isNothing(rest);
}

/** Whether all fields are missing, false or 0, or hold nothing. */
function isNothing(fields: object): boolean {
  const values = Object.values(fields) as ({ length?: number; size?: number } | undefined)[];
  return values.every((value) => !value || value.length === 0 || value.size === 0);
}
