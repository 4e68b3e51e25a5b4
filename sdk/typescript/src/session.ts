/**
 * One device's side of its connection, as a state machine: no sockets, no clock, no store.
 *
 * What happens is told by method calls; `effects` then says what is to be done, in this order: save
 * `change` in one transaction; hand `events` and `answers` to the app; send `frames`.
 *
 *     connecting ──welcome──> catching_up ──live──> live ──behind──> behind ──live──> live
 *                                  └──reset──> reset ──rebuilt──> connecting
 *
 * Three rules keep a device complete, whatever breaks:
 *
 * - The cursor moves only by sync frames (`page`, `push`, `live`, `at`) and only in the transaction
 *   that saves their messages.
 * - A sync frame that cannot be taken (the app is too far behind with its events, or the device is
 *   being rebuilt) is let go, and with it all further ones of this connection. The cursor stands
 *   before it, so they come again on the next connection. Commands and queries go on meanwhile.
 * - A reset saves the new cursor together with the note that a rebuild is due; the note goes when
 *   the rebuild is done.
 */

import { retryAfterMs } from "./backoff.js";
import { error, faultOf, type TimewireError } from "./errors.js";
import type { Arrival, Event } from "./events.js";
import { bytesOf } from "./names.js";
import { concerns, Outbox, written } from "./outbox.js";
import type * as wire from "./protocol.js";
import { type Change, nothing, type Saved } from "./store.js";

/** Messages that may wait for the app; with more, sync frames are let go. */
export const MAX_UNREAD_EVENTS = 10_000;

/** Messages that may wait for the app while further pages are asked for. */
export const LOW_UNREAD_EVENTS = 5_000;

/** Of a token's life on a connection: then it is renewed. */
const RENEW_AFTER = 0.75;

/** Not sooner, for a token source that gives the same token again and again. */
const MIN_RENEW_MS = 200;

/** After a newer token was refused, or could not be had. */
export const RENEW_AGAIN_MS = 5_000;

/** The id of the frame; there is one at a time, and ids of others are chosen by chance. */
const RENEWAL = "renew";

/** Asked for at a time, where nobody says how many. */
export const PAGE_ENTRIES = 100;

/** Where a device stands. `connecting` is everything before the server's welcome. */
export type State = "connecting" | "catching_up" | "live" | "behind" | "reset";

/** What answers a query. */
export type Page =
  | wire.HistoryPage
  | wire.ConversationPage
  | wire.MemberPage
  | wire.BanPage
  | wire.LinkPage
  | wire.ReaderPage
  | wire.DevicePage
  | wire.SearchPage;

export type Answer = wire.Ack | Page | TimewireError;

/**
 * What is to be done.
 *
 * `events` holds the arrivals of `change` too, in the same order: those that the store knew already
 * are not shown. `pause`: call `resume` after a pause, not before `pauseMs`. `rebuild`: rebuild from the
 * conversation list and history, then call `rebuilt`. `reconnect`: end this connection and begin another one.
 * `renewMs`: call `renew` with a newer token after this time.
 */
export interface Effects {
  change: Change;
  events: Event[];
  answers: [id: string, answer: Answer][];
  frames: wire.ClientFrame[];
  pause: boolean;
  pauseMs: number;
  rebuild: boolean;
  reconnect: boolean;
  renewMs?: number;
}

function none(): Effects {
  const empty = { events: [], answers: [], frames: [] };
  return {
    change: nothing(),
    ...empty,
    pause: false,
    pauseMs: 0,
    rebuild: false,
    reconnect: false,
  };
}

type Sync = wire.SyncPage | wire.Push | wire.Live | wire.At | wire.Behind;

/**
 * See the module. `unread`: messages that wait for the app; the caller keeps it exact.
 *
 * Throws `wrong_store` for what was saved by another device, and in `receive` when the server knows
 * the device as another user; there also when its hello is refused for good.
 */
export class Session {
  state: State = "connecting";
  user: string;
  unread: number;
  #cursor: wire.Cursor | undefined;
  #resetting: wire.ResetReason | undefined;
  readonly #commands: Outbox;
  readonly #queries = new Map<string, wire.Query>();
  #postponed = new Set<string>();
  #watching: wire.Watch | undefined;
  #limits: wire.Limits | undefined;
  #base = "";
  #online = false;
  #owedPages = 0;
  #deaf = false;
  #leaving = false;
  #complaint: TimewireError | undefined;
  #todo = none();

  constructor(
    saved: Saved,
    readonly device: string,
    private readonly kind = "",
  ) {
    if (saved.owner && saved.owner.device !== device) {
      throw error("wrong_store", { device, owner: saved.owner.device });
    }
    this.user = saved.owner?.user ?? "";
    this.unread = saved.unread.length;
    this.#cursor = saved.cursor;
    this.#resetting = saved.reset;
    this.#commands = new Outbox(saved.outbox);
    if (saved.reset) {
      this.#todo.events.push({ type: "reset", reason: saved.reset });
      this.#todo.rebuild = true;
    }
  }

  /** How many commands have no answer yet. */
  get outbox(): number {
    return this.#commands.size;
  }

  /** How many messages `effects` will ask to be saved. */
  get unsaved(): number {
    return this.#todo.change.arrivals.length;
  }

  /** What is to be done since the last call. */
  effects(): Effects {
    const effects = this.#todo;
    this.#todo = none();
    return effects;
  }

  // -- the connection -----------------------------------------------------------------------------

  /** A connection is there; nothing was said on it. */
  opened(token: string): void {
    const cursor = this.#cursor ? { cursor: this.#cursor } : {};
    const kind = this.kind ? { kind: this.kind } : {};
    this.#todo.frames.push({ type: "hello", token, device: this.device, ...cursor, ...kind });
  }

  /** The connection is gone, with a WebSocket close code. What to do, and why it ended. */
  closed(code: number, reason: string): [advice: wire.Advice, fault: TimewireError] {
    if (this.#online && !this.#leaving) {
      this.#online = false;
      this.#todo.events.push({ type: "disconnected", reason });
    }
    // What was not sent yet was for the connection that is gone.
    this.#todo.frames = [];
    this.#todo.reconnect = false;
    this.state = "connecting";
    this.#limits = undefined;
    this.#owedPages = 0;
    this.#deaf = this.#leaving = false;
    this.#commands.restart();
    this.#postponed.clear();
    const fault = this.#complaint ?? closing(code, reason);
    this.#complaint = undefined;
    return [advice(code), fault];
  }

  /** A frame from the server. */
  receive(frame: wire.ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        return this.#welcome(frame);
      case "page":
      case "push":
      case "live":
      case "at":
      case "behind":
        return this.#sync(frame);
      case "ack":
        return this.#acked(frame);
      case "error":
        return this.#refused(frame);
      case "reset":
        return this.#restart(frame);
      case "renewed":
        return this.#planRenewal(frame);
      case "pong":
        return;
      case "typing":
      case "presence":
        this.#todo.events.push(frame);
        return;
      case "watching":
        this.#todo.events.push(...frame.users);
        return;
      default:
        if (this.#queries.delete(frame.id)) this.#todo.answers.push([frame.id, frame]);
    }
  }

  #welcome(frame: wire.Welcome): void {
    if (this.user && this.user !== frame.user) {
      throw error("wrong_store", { user: frame.user, owner: this.user });
    }
    if (!this.user) {
      this.user = frame.user;
      this.#todo.change.owner = { user: frame.user, device: this.device };
    }
    this.#base = frame.base;
    if (!this.#cursor) this.#move(frame.pos);
    this.#limits = frame.limits;
    this.state = this.#resetting ? "reset" : "catching_up";
    if (!this.#online) {
      this.#online = true;
      this.#todo.events.push({ type: "connected" });
    }
    this.#planRenewal(frame);
    if (this.#watching) this.#todo.frames.push(this.#watching);
    this.#sendCommands();
    for (const query of this.#queries.values()) this.#sendQuery(query);
  }

  #planRenewal({ expires, time }: wire.Welcome | wire.Renewed): void {
    if (!expires) return;
    this.#todo.renewMs = Math.max(MIN_RENEW_MS, Math.floor((expires - time) * RENEW_AFTER));
  }

  /** Go on with a newer token; without a connection the next one begins with it. */
  renew(token: string): void {
    if (this.#limits) this.#todo.frames.push({ type: "renew", id: RENEWAL, token });
  }

  #restart(frame: wire.Reset): void {
    this.#base = frame.base;
    this.#resetting = frame.reason;
    this.#move(frame.pos);
    this.state = "reset";
    this.#todo.change.reset = frame.reason;
    this.#todo.events.push({ type: "reset", reason: frame.reason });
    this.#todo.rebuild = true;
  }

  // -- messages -----------------------------------------------------------------------------------

  #sync(frame: Sync): void {
    if (!this.#listens()) return;
    switch (frame.type) {
      case "behind":
        this.state = "behind";
        return;
      case "page":
        for (const message of frame.messages) this.#arrive(message);
        this.#owedPages += 1;
        this.#giveCredit();
        break;
      case "push":
        this.#arrive(frame.message);
        break;
      case "live":
        this.state = "live";
        this.#todo.events.push({ type: "live" });
    }
    this.#move(frame.pos);
  }

  /** Whether sync frames are taken; once one was let go, none is any more. */
  #listens(): boolean {
    this.#deaf ||= this.#resetting !== undefined || this.unread >= MAX_UNREAD_EVENTS;
    return !this.#deaf && this.#limits !== undefined;
  }

  #arrive(message: wire.Message): void {
    const own = message.from === this.user && this.#commands.has(message.id);
    this.#save({ type: own ? "acked" : "received", message });
  }

  #save(arrival: Arrival): void {
    this.#todo.change.arrivals.push(arrival);
    this.#todo.events.push(arrival);
    this.unread += 1;
  }

  #move(pos: string): void {
    this.#cursor = this.#todo.change.cursor = { base: this.#base, pos };
  }

  /** The app has dealt with events; so many messages still wait for it. */
  taken(unread: number): void {
    this.unread = unread;
    if (!this.#limits || unread > LOW_UNREAD_EVENTS) return;
    if (this.#deaf && !this.#resetting) this.#leave();
    else this.#giveCredit();
  }

  /** What a rebuild has fetched: messages, oldest first, read marks, where conversations begin. */
  fetched(
    messages: readonly wire.Message[],
    marks: ReadonlyMap<string, number>,
    begins: ReadonlyMap<string, number>,
  ): void {
    for (const message of messages) this.#arrive(message);
    for (const [name, seq] of marks) this.#todo.change.marks.set(name, seq);
    for (const [name, seq] of begins) this.#todo.change.begins.set(name, seq);
  }

  /** The rebuild is done. What was let go meanwhile comes on a new connection. */
  rebuilt(): void {
    this.#resetting = undefined;
    this.#todo.change.rebuilt = true;
    if (this.#limits) this.#leave();
  }

  #giveCredit(): void {
    if (this.#owedPages && this.unread <= LOW_UNREAD_EVENTS) {
      this.#todo.frames.push({ type: "credit", pages: this.#owedPages });
      this.#owedPages = 0;
    }
  }

  #leave(): void {
    if (!this.#leaving) {
      this.#leaving = this.#deaf = true;
      this.#todo.reconnect = true;
    }
  }

  // -- commands and queries -----------------------------------------------------------------------

  /** Queue a command. The same one may be queued twice. Throws `id_reused`, `too_busy`. */
  put(command: wire.Command): void {
    if (this.#commands.put(command)) {
      this.#todo.change.queued.push(command);
      this.#sendCommands();
    }
  }

  /** Have a query answered. */
  ask(query: wire.Query): void {
    this.#queries.set(query.id, query);
    this.#sendQuery(query);
  }

  /** The pause is over: what the server could not do goes again. */
  resume(): void {
    this.#commands.resume();
    this.#sendCommands();
    const postponed = this.#postponed;
    this.#postponed = new Set();
    for (const id of postponed) {
      const query = this.#queries.get(id);
      if (query) this.#sendQuery(query);
    }
  }

  /** Watch users in place of those before, on this connection and all that follow. */
  watch(watch: wire.Watch): void {
    this.#watching = watch;
    if (this.#limits) this.#todo.frames.push(watch);
  }

  /** Say that the user is typing, if that can be said now. */
  typing(conversation: string): void {
    if (this.#limits) this.#todo.frames.push({ type: "typing", conversation });
  }

  #sendCommands(): void {
    if (!this.#limits) return;
    for (const command of this.#commands.next(this.#limits.sends_in_flight)) {
      this.#transmit(command, this.#limits);
    }
  }

  #sendQuery(query: wire.Query): void {
    if (!this.#limits) return;
    if (query.type === "devices" || query.type === "log_out") {
      this.#transmit(query, this.#limits);
      return;
    }
    const { limit = PAGE_ENTRIES } = query;
    const fitting = Math.min(limit, this.#limits.page_entries);
    this.#transmit({ ...query, limit: fitting }, this.#limits);
  }

  #transmit(frame: wire.Command | wire.Query, limits: wire.Limits): void {
    // The server would refuse it without knowing its id, for ever.
    if (bytesOf(JSON.stringify(frame)) > limits.frame_bytes) {
      this.#fail(frame.id, error("frame_too_large", { limit: limits.frame_bytes }));
    } else {
      this.#todo.frames.push(frame);
    }
  }

  #acked(ack: wire.Ack): void {
    const command = this.#commands.settle(ack.id);
    if (!command) return;
    this.#save({ type: "acked", message: written(this.user, command, ack) });
    this.#todo.change.settled.push(ack.id);
    this.#todo.answers.push([ack.id, ack]);
    this.#sendCommands();
  }

  #refused(frame: wire.Problem): void {
    const fault = faultOf(frame);
    if (!frame.id) {
      this.#complaint = fault;
      // The hello itself is wrong, and would be next time.
      if (!this.#limits && fault.kind === "invalid") throw fault;
    } else if (frame.id === RENEWAL) {
      this.#todo.renewMs = RENEW_AGAIN_MS;
    } else if (!frame.retry) {
      this.#fail(frame.id, fault);
      this.#sendCommands();
    } else if (this.#commands.has(frame.id)) {
      this.#rest(frame);
      this.#commands.postpone(frame.id);
    } else if (this.#queries.has(frame.id)) {
      this.#rest(frame);
      this.#postponed.add(frame.id);
    }
  }

  #rest(frame: wire.Problem): void {
    if (this.#commands.paused || this.#postponed.size > 0) return;
    this.#todo.pause = true;
    this.#todo.pauseMs = retryAfterMs(frame);
  }

  #fail(id: string, fault: TimewireError): void {
    const command = this.#commands.settle(id);
    if (command) {
      this.#todo.change.settled.push(id);
      const conversation = concerns(this.user, command);
      this.#todo.events.push({ type: "refused", id, conversation, error: fault });
    }
    if (command || this.#queries.delete(id)) this.#todo.answers.push([id, fault]);
  }
}

/** What to do after a close with this code (also one of WebSocket's own, 1xxx). */
export function advice(code: number): wire.Advice {
  if (code >= 4200 && code < 4300) return "stop";
  return code >= 4100 && code < 4200 ? "renew" : "reconnect";
}

const CLOSINGS: Readonly<Record<number, string>> = {
  4100: "bad_token",
  4101: "token_expired",
  4102: "token_revoked",
  4200: "replaced",
  4201: "bad_frame",
  4202: "logged_out",
  4203: "displaced",
  4204: "too_many_devices",
};

/** The error of a close code. */
function closing(code: number, reason: string): TimewireError {
  return error(CLOSINGS[code] ?? "not_connected", { reason }, reason);
}
