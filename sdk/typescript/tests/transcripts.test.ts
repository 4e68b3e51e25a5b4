/** The transcripts that all SDKs play, played by this one on both sorts of tables. */

import "fake-indexeddb/auto";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { TimewireError } from "../src/errors.js";
import { type Event, isArrival } from "../src/events.js";
import { IndexedTables } from "../src/indexed.js";
import { MemoryTables } from "../src/memory.js";
import * as protocol from "../src/protocol.js";
import { type Answer, type Effects, Session } from "../src/session.js";
import { nothing, Store } from "../src/store.js";
import type { Tables } from "../src/tables.js";
import { frame } from "./frames.js";

const HERE = new URL("../../transcripts/", import.meta.url);
const NAMES = readdirSync(HERE).filter((name) => name.endsWith(".json"));

type Given = Readonly<Record<string, unknown>>;
type Message = protocol.Message;

interface Kept {
  readonly messages?: Readonly<Record<string, readonly Partial<Message>[]>>;
  readonly marks?: Readonly<Record<string, number>>;
}

/** One step: see the README of the transcripts. */
interface Step {
  readonly open?: string;
  readonly in?: readonly (string | Given)[];
  readonly close?: readonly [code: number, reason: string];
  readonly put?: protocol.Command;
  readonly ask?: protocol.Query;
  readonly watch?: protocol.Watch;
  readonly typing?: string;
  readonly tick?: number | "pause";
  readonly taken?: number;
  readonly fetched?: {
    readonly messages: readonly Partial<Message>[];
    readonly marks: Readonly<Record<string, number>>;
    readonly begins: Readonly<Record<string, number>>;
  };
  readonly rebuilt?: true;
  readonly restart?: string;
  readonly renew?: string;
  readonly out?: readonly protocol.ClientFrame[];
  readonly events?: readonly string[];
  readonly answers?: readonly string[];
  readonly wants?: readonly string[];
  readonly advice?: string;
  readonly throws?: string;
  readonly state?: string;
  readonly store?: Kept & Given;
}

interface Transcript {
  readonly frames?: Readonly<Record<string, Given>>;
  readonly steps: readonly Step[];
}

/** A device that is played: its store, its session, and what its app has not dealt with. */
class Device {
  #session = new Session({ outbox: [], unread: [] }, "laptop");
  #store: Store;
  #numbers: number[] = [];
  #shown: string[] = [];

  constructor(
    private readonly transcript: Transcript,
    private readonly tables: Tables,
  ) {
    this.#store = new Store(tables);
  }

  async restart(device: string): Promise<void> {
    this.#store = new Store(this.tables);
    const saved = await this.#store.load();
    this.#session = new Session(saved, device);
    this.#numbers = saved.unread.map(([number]) => number);
    this.#shown = saved.unread.map(([, arrival]) => told(arrival));
  }

  /** What the device does in this step, in the words of a step. */
  async play(step: Step): Promise<Step> {
    let more: Partial<Step> = {};
    try {
      more = (await this.#act(step)) ?? {};
    } catch (fault) {
      if (!(fault instanceof TimewireError)) throw fault;
      more = { throws: fault.code };
    }
    const effects = this.#session.effects();
    const events = [...this.#shown, ...(await this.#save(effects)).map(told)];
    this.#shown = [];
    const simple = ["pause", "rebuild", "reconnect"] as const;
    const wants: string[] = simple.filter((name) => effects[name]);
    if (effects.pauseMs) wants.push(`at least ${effects.pauseMs}`);
    if (effects.renewMs !== undefined) wants.push(`renew in ${effects.renewMs}`);
    const answers = effects.answers.map(([id, answer]) => answered(id, answer));
    const state = step.state === undefined ? {} : { state: this.#session.state };
    const store = step.store === undefined ? {} : { store: await this.#kept(step.store) };
    return { out: effects.frames, events, answers, wants, ...more, ...state, ...store };
  }

  async #act(step: Step): Promise<Partial<Step> | undefined> {
    const session = this.#session;
    if (step.open !== undefined) session.opened(step.open);
    for (const one of step.in ?? []) session.receive(this.#heard(one));
    if (step.put) session.put(step.put);
    if (step.ask) session.ask(step.ask);
    if (step.watch) session.watch(step.watch);
    if (step.typing !== undefined) session.typing(step.typing);
    if (step.tick === "pause") session.resume();
    else if (step.tick !== undefined) await this.#store.sweep(step.tick);
    if (step.taken !== undefined) await this.#take(step.taken);
    if (step.fetched) {
      const { messages, marks, begins } = step.fetched;
      const [read, from] = [marks, begins].map((some) => new Map(Object.entries(some)));
      session.fetched(messages.map(protocol.message), read as never, from as never);
    }
    if (step.rebuilt) session.rebuilt();
    if (step.renew !== undefined) session.renew(step.renew);
    if (step.restart !== undefined) await this.restart(step.restart);
    if (!step.close) return undefined;
    const [advice, fault] = session.closed(...step.close);
    return { advice: `${advice} ${fault.code}` };
  }

  async #take(count: number): Promise<void> {
    const taken = this.#numbers.splice(0, count).at(-1) ?? 0;
    await this.#store.apply({ ...nothing(), taken });
    this.#session.taken(this.#numbers.length);
  }

  /** Save the change; events without messages that were there already. */
  async #save(effects: Effects): Promise<Event[]> {
    const numbers = await this.#store.apply(effects.change);
    const shown = effects.events.filter((event) => {
      const number = isArrival(event) ? numbers.shift() : 0;
      if (number) this.#numbers.push(number);
      return number !== null;
    });
    this.#session.unread = this.#numbers.length;
    return shown;
  }

  #heard(given: string | Given): protocol.ServerFrame {
    return frame(typeof given === "string" ? (this.transcript.frames?.[given] ?? {}) : given);
  }

  /** What the store holds of what is asked for. */
  async #kept(wanted: Kept & Given): Promise<Kept & Given> {
    const { owner = null, cursor = null, reset = null, ...saved } = await this.#store.load();
    const of = async <Value>(names: object | undefined, get: (name: string) => Promise<Value>) => {
      const all = Object.keys(names ?? {}).map(async (name) => [name, await get(name)] as const);
      return Object.fromEntries(await Promise.all(all));
    };
    const found: Given = {
      ...{ owner, cursor, reset },
      outbox: saved.outbox.map(({ id }) => id),
      unread: saved.unread.map(([, arrival]) => told(arrival)),
      messages: await of(wanted.messages, (name) => this.#store.messages(name)),
      marks: await of(wanted.marks, (name) => this.#store.mark(name)),
    };
    return Object.fromEntries(Object.keys(wanted).map((name) => [name, found[name]]));
  }
}

function told(event: Event): string {
  switch (event.type) {
    case "received":
    case "acked":
      return `${event.type} ${event.message.conversation} ${event.message.seq}`;
    case "refused": {
      const { id, conversation, error } = event;
      return `refused ${id} ${conversation} ${error.code} ${error.kind}`;
    }
    case "reset":
    case "disconnected":
      return `${event.type} ${event.reason}`;
    case "typing":
      return `typing ${event.conversation} ${event.user}`;
    case "presence":
      return `presence ${event.user} ${event.online ? "online" : `offline ${event.seen}`}`;
    default:
      return event.type;
  }
}

function answered(id: string, answer: Answer): string {
  if (answer instanceof TimewireError) return `${id} refused ${answer.code} ${answer.kind}`;
  return answer.type === "ack" ? `${id} ack ${answer.seq}` : `${id} ${answer.type}`;
}

/** What the step says, with all defaults. */
function wanted(step: Step): Step {
  const { out = [], events = [], answers = [], wants = [], advice, throws, state, store } = step;
  const whole = Object.entries(store?.messages ?? {}).map(
    ([name, all]) => [name, all.map(protocol.message)] as const,
  );
  const messages = store?.messages ? { messages: Object.fromEntries(whole) } : {};
  const given = { advice, throws, state, store: store && { ...store, ...messages } };
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return { out, events, answers, wants, ...Object.fromEntries(named) };
}

describe.each(["memory", "indexed"])("on tables of the sort %s", (sort) => {
  test.each(NAMES)("%s", async (name) => {
    const transcript: Transcript = JSON.parse(readFileSync(new URL(name, HERE), "utf8"));
    const indexed = sort === "indexed";
    const tables = indexed ? await IndexedTables.open(`${name}`) : new MemoryTables();
    const device = new Device(transcript, tables);
    await device.restart("laptop");
    for (const [at, step] of transcript.steps.entries()) {
      const done = await device.play(step);
      // What is left out of a frame is its default.
      expect(simple(done), `step ${at + 1}`).toEqual(simple(wanted(step)));
    }
    tables.close();
  });
});

const DEFAULTS: Readonly<Record<string, Given>> = {
  hello: { cursor: null, credit: 4 },
  credit: { pages: 1 },
};

function simple(step: Step): Step {
  const out = (step.out ?? []).map((one) => ({ ...DEFAULTS[one.type], ...one }));
  return { ...step, out: out as protocol.ClientFrame[] };
}
