import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Arrival } from "../src/events.js";
import { IndexedTables } from "../src/indexed.js";
import { MemoryTables } from "../src/memory.js";
import { type Command, message as filled, type Message } from "../src/protocol.js";
import { type Change, nothing, Store } from "../src/store.js";
import type { Tables } from "../src/tables.js";
import { message, send, seqs } from "./frames.js";

let databases = 0;

function change(some: Partial<Change>): Change {
  return { ...nothing(), ...some };
}

function received(...messages: Message[]): Arrival[] {
  return messages.map((one) => ({ type: "received", message: one }));
}

function put(store: Store, ...messages: Message[]): Promise<(number | null)[]> {
  return store.apply(change({ arrivals: received(...messages) }));
}

function control(seq: number, kind: string, body: object, from = "bob"): Message {
  return message(seq, { kind, body: body as Message["body"], from });
}

const bare = (seq: number) => filled({ conversation: "team", seq, time: 1000 + seq });
const numbered = (...all: number[]) => all.map((seq) => message(seq));

describe.each(["memory", "indexed"])("a store in tables of the sort %s", (sort) => {
  const memory = new Map<string, MemoryTables>();
  const opened: Tables[] = [];
  let name = "";

  /** The tables, each time as if the app had been started anew. */
  async function tables(): Promise<Tables> {
    if (sort === "memory") return memory.get(name) as MemoryTables;
    const indexed = await IndexedTables.open(name);
    opened.push(indexed);
    return indexed;
  }

  async function reopen(): Promise<Store> {
    const store = new Store(await tables());
    await store.load();
    return store;
  }

  const saved = async () => new Store(await tables()).load();

  beforeEach(() => {
    name = `store ${++databases}`;
    memory.set(name, new MemoryTables());
  });

  afterEach(() => {
    for (const one of opened.splice(0)) one.close();
  });

  test("is empty at first", async () => {
    const store = await reopen();
    expect(await saved()).toEqual({ outbox: [], unread: [] });
    expect(await store.messages("team")).toEqual([]);
    expect(await store.mark("team")).toBe(0);
  });

  test("saves messages and cursor together", async () => {
    const arrivals: Arrival[] = [
      { type: "received", message: message(3) },
      { type: "acked", message: message(5, { from: "alice" }) },
    ];
    const cursor = { base: "b", pos: "5" };
    const numbers = await (await reopen()).apply(change({ arrivals, cursor }));
    const store = await reopen();
    expect(await store.messages("team")).toEqual([message(5, { from: "alice" }), message(3)]);
    const known = await saved();
    expect(known.cursor).toEqual(cursor);
    expect(known.unread).toEqual(arrivals.map((one, at) => [numbers[at], one]));
  });

  test("saves all of a change, or nothing", async () => {
    const store = await reopen();
    await store.apply(change({ arrivals: received(message(1)), cursor: { base: "b", pos: "1" } }));
    const unstorable = message(3, { body: { call: () => 1 } });
    const broken = change({
      cursor: { base: "b", pos: "3" },
      queued: [send("a")],
      marks: new Map([["team", 2]]),
      arrivals: received(message(2), unstorable),
      taken: 1,
    });
    await expect(store.apply(broken)).rejects.toThrow();
    expect(seqs(await store.messages("team"))).toEqual([1]);
    expect(await store.mark("team")).toBe(0);
    expect(await store.apply(change({ arrivals: received(message(2)) }))).toEqual([2]);
    const { cursor, outbox, unread } = await saved();
    expect([cursor?.pos, outbox, unread.length]).toEqual(["1", [], 2]);
  });

  test("takes back what a broken reset has forgotten", async () => {
    const store = await reopen();
    await put(store, message(1));
    const arrivals = received(message(1, { body: { call: () => 1 } }));
    await expect(store.apply(change({ reset: "other_log", arrivals }))).rejects.toThrow();
    expect(seqs(await store.messages("team"))).toEqual([1]);
  });

  test("leaves alone what a change does not name", async () => {
    const owner = { user: "alice", device: "laptop" };
    const cursor = { base: "b", pos: "1" };
    const store = await reopen();
    await store.apply(change({ owner, cursor, reset: "expired" }));
    await put(store, message(1));
    expect(await saved()).toMatchObject({ owner, cursor, reset: "expired" });
    await (await reopen()).apply(change({ rebuilt: true }));
    expect((await saved()).reset).toBeUndefined();
  });

  test("takes a message once, within a change and later", async () => {
    const store = await reopen();
    expect(await put(store, ...numbered(1, 1, 2))).toEqual([1, null, 2]);
    const other = message(2, { conversation: "other" });
    expect(await put(store, message(2), message(3), other)).toEqual([null, 3, 4]);
    expect((await saved()).unread).toHaveLength(4);
  });

  test("numbers messages anew after restarts, also when all is taken", async () => {
    const store = await reopen();
    await put(store, ...numbered(1, 2, 3));
    await store.apply(change({ taken: 2 }));
    expect((await saved()).unread.map(([number]) => number)).toEqual([3]);
    await (await reopen()).apply(change({ taken: 3 }));
    expect(await put(await reopen(), message(9))).toEqual([4]);
  });

  test("keeps the outbox in its order", async () => {
    const read: Command = { type: "read", id: "7", conversation: "team", seq: 3 };
    const store = await reopen();
    await store.apply(change({ queued: [send("9"), send("5")] }));
    await store.apply(change({ queued: [read, send("9")] }));
    expect((await saved()).outbox).toEqual([send("9"), send("5"), read]);
    const next = await reopen();
    await next.apply(change({ settled: ["5", "never there"], queued: [send("1")] }));
    expect((await saved()).outbox.map(({ id }) => id)).toEqual(["9", "7", "1"]);
  });

  test("merges marks by maximum, and reads them out of messages", async () => {
    const store = await reopen();
    await store.apply(change({ marks: new Map([["team", 5]]) }));
    await store.apply(change({ marks: new Map([["team", 3]]) }));
    expect(await store.mark("team")).toBe(5);
    const read = (seq: number, conversation: string, body: Message["body"]) =>
      message(seq, { conversation, kind: "read", body });
    await put(
      store,
      read(10, "self:alice", { conversation: "team", seq: 7 }),
      read(11, "self:alice", { conversation: "team", seq: 4 }),
      read(12, "direct:alice:bob", { conversation: "team", seq: 99 }),
      read(13, "self:alice", { conversation: "team" }),
    );
    expect(await store.mark("team")).toBe(7);
  });

  test("shows messages page by page from the newest", async () => {
    const store = await reopen();
    await put(store, ...numbered(5, 1, 9, 3), message(4, { conversation: "other" }));
    expect(seqs(await store.messages("team", { limit: 2 }))).toEqual([9, 5]);
    expect(seqs(await store.messages("team", { before: 5, limit: 2 }))).toEqual([3, 1]);
    expect(await store.messages("team", { before: 1 })).toEqual([]);
    expect(await store.messages("team", { before: 0 })).toEqual([]);
  });

  test("keeps messages when a cursor has expired, and forgets those of another log", async () => {
    const store = await reopen();
    const known = { marks: new Map([["team", 2]]), queued: [send("s")] };
    await store.apply(change({ ...known, arrivals: received(...numbered(1, 2)) }));
    await store.apply(change({ reset: "expired" }));
    expect(seqs(await store.messages("team"))).toEqual([2, 1]);
    expect(await store.mark("team")).toBe(2);
    const another = message(1, { id: "another" });
    await store.apply(change({ reset: "other_log", arrivals: received(another) }));
    expect(await store.messages("team")).toEqual([another]);
    expect(await store.mark("team")).toBe(0);
    const { unread, outbox } = await saved();
    expect(unread).toEqual([[3, { type: "received", message: another }]]);
    expect(outbox).toEqual([send("s")]);
  });

  test("has one writer: who has loaded it last", async () => {
    const before = await reopen();
    await put(before, message(1));
    const after = await reopen();
    await expect(put(before, message(2))).rejects.toMatchObject({ code: "directory_in_use" });
    await put(after, message(3));
    expect(seqs(await before.messages("team"))).toEqual([3, 1]);
  });

  test("changes messages by those that come later", async () => {
    const store = await reopen();
    const edit = control(5, "edited", { seq: 1, body: { text: "better" } });
    const reaction = control(6, "reaction", { seq: 2, emoji: "x", on: true }, "eve");
    const numbers = await put(
      store,
      ...numbered(1, 2, 3),
      edit,
      reaction,
      control(7, "recalled", { seq: 3 }),
    );
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6]);
    const [, , , third, second, first] = await store.messages("team");
    const edited = { edits: [5], edited: edit.time, version: 5 };
    expect(first).toEqual(message(1, { body: { text: "better" }, ...edited }));
    expect(second).toEqual(message(2, { reactions: { x: ["eve"] }, version: 6 }));
    expect(third).toEqual(bare(3));
    expect((await saved()).unread[2]?.[1].message).toEqual(bare(3));
  });

  test("lets the highest version win, whatever comes first", async () => {
    const store = await reopen();
    const edit = (seq: number) => control(seq, "edited", { seq: 1, body: { text: `${seq}` } });
    await put(store, edit(4), message(1), edit(2), edit(3));
    const [now] = await store.messages("team", { before: 2 });
    expect(now).toMatchObject({ body: { text: "4" }, edits: [2, 3, 4], version: 4 });
    await put(store, message(1, { version: 9, body: { text: "9" } }), message(1, { version: 8 }));
    expect(await store.messages("team", { before: 2 })).toMatchObject([{ body: { text: "9" } }]);
    await put(store, edit(7));
    expect(await store.messages("team", { before: 2 })).toMatchObject([{ body: { text: "9" } }]);
  });

  test("never brings back what was recalled, nor what its edits said", async () => {
    const store = await reopen();
    const edit = (seq: number) => control(seq, "edited", { seq: 1, body: { text: `${seq}` } });
    await put(store, message(1), edit(2), control(5, "recalled", { seq: 1 }), edit(6), edit(3));
    expect(await put(store, message(1), message(1, { version: 9 }))).toEqual([null, null]);
    const kept = await store.messages("team");
    expect(kept.map(({ seq, kind }) => [seq, kind])).toEqual([
      [6, ""],
      [5, "recalled"],
      [3, ""],
      [2, ""],
      [1, ""],
    ]);
  });

  test("knows a recall that comes before its message", async () => {
    const store = await reopen();
    await put(store, control(3, "recalled", { seq: 1 }), message(1));
    expect((await store.messages("team")).map(({ kind }) => kind)).toEqual(["recalled", ""]);
  });

  test("takes reactions back, and does not repeat those that a message came with", async () => {
    const store = await reopen();
    const reaction = (seq: number, on: boolean) =>
      control(seq, "reaction", { seq: 1, emoji: "x", on }, "eve");
    await put(store, message(1, { version: 7 }), reaction(6, true));
    expect((await store.messages("team")).at(-1)?.reactions).toEqual({});
    await put(store, reaction(8, true), reaction(9, true));
    expect((await store.messages("team")).at(-1)?.reactions).toEqual({ x: ["eve"] });
    await put(store, reaction(10, false));
    expect((await store.messages("team")).at(-1)?.reactions).toEqual({});
  });

  test("does not show what is hidden, whenever it comes", async () => {
    const store = await reopen();
    const hidden = (seq: number) =>
      message(10 + seq, {
        conversation: "self:alice",
        kind: "hidden",
        body: { conversation: "team", seq },
      });
    await put(store, ...numbered(1, 2), hidden(1), hidden(3), ...numbered(3, 4));
    expect(seqs(await store.messages("team", { limit: 2 }))).toEqual([4, 2]);
    expect((await saved()).unread.map(([, one]) => one.message.kind)).toEqual([
      ...["", "text", "hidden", "hidden", "", "text"],
    ]);
  });

  test("forgets what has expired, and what edits made of it", async () => {
    const store = await reopen();
    const edit = control(4, "edited", { seq: 1, body: { text: "better" } });
    await put(store, message(1, { expires: 50 }), message(2, { expires: 2 ** 50 }), edit);
    await store.sweep(49);
    // Its life is over, so it is not shown, though it is still there.
    expect((await store.messages("team")).map(({ kind }) => kind)).toEqual(["", "text", ""]);
    await store.sweep(50);
    const kinds = (await saved()).unread.map(([, one]) => one.message.kind);
    expect(kinds).toEqual(["", "text", ""]);
  });

  test("shows nothing from before a return, nor what may be out of date", async () => {
    const store = await reopen();
    await store.apply(change({ owner: { user: "alice", device: "laptop" } }));
    const members = (seq: number, joined: string[], left: string[]) =>
      control(seq, "members", { joined, left });
    await put(store, message(1), members(2, ["alice"], []), members(3, [], ["alice"]));
    expect(seqs(await store.messages("team"))).toEqual([3, 2, 1]);
    await put(store, members(7, ["alice"], []), message(8));
    expect(seqs(await store.messages("team"))).toEqual([8, 7]);
    expect(await store.messages("team", { before: 7 })).toEqual([]);
    const banned = (seq: number, on: boolean) => control(seq, "banned", { users: ["alice"], on });
    await put(store, banned(9, true), banned(10, false), members(12, ["alice"], []));
    expect(seqs(await store.messages("team"))).toEqual([12]);
    await store.apply(change({ arrivals: received(message(13)), begins: new Map([["team", 13]]) }));
    expect(seqs(await store.messages("team"))).toEqual([13]);
  });
});

test("a memory store keeps the newest messages", async () => {
  const store = new Store(new MemoryTables(3));
  await store.load();
  await put(store, ...numbered(1, 2, 3, 4, 5));
  expect(seqs(await store.messages("team"))).toEqual([5, 4, 3]);
});

test("a database that another tab deletes is let go", async () => {
  const name = `deleted ${++databases}`;
  const store = new Store(await IndexedTables.open(name));
  await store.load();
  await new Promise((resolve) => {
    indexedDB.deleteDatabase(`timewire:${name}`).onsuccess = resolve;
  });
  await expect(put(store, message(1))).rejects.toMatchObject({ code: "storage_unavailable" });
});

/** Numbers from a seed, so that a failure comes again. */
function randomly(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

function anyChange(any: (below: number) => number): Change {
  const pick = <Item>(...from: Item[]) => from[any(from.length)] as Item;
  const seq = () => 1 + any(8);
  const arrivals = Array.from({ length: any(5) }, () => {
    const kind = pick("text", "text", "edited", "recalled", "reaction", "members", "hidden");
    const bodies: Record<string, object> = {
      edited: { seq: seq(), body: { text: `${any(9)}` } },
      recalled: { seq: seq() },
      reaction: { seq: seq(), emoji: "x", on: any(2) > 0 },
      members: pick({ joined: ["alice"], left: [] }, { joined: [], left: ["alice"] }),
      hidden: { conversation: "team", seq: seq() },
    };
    const body = (bodies[kind] ?? { n: any(9) }) as Message["body"];
    const more = { kind, body, version: any(12), expires: pick(0, 0, 0, 5) };
    return { type: pick("received", "acked"), message: message(1 + any(12), more) } as Arrival;
  });
  return {
    ...nothing(),
    arrivals,
    ...pick({}, {}, { cursor: { base: "b", pos: `${any(9)}` } }),
    ...pick<Partial<Change>>({}, {}, {}, { reset: "expired" }, { reset: "other_log" }),
    ...pick({}, { owner: { user: "alice", device: "laptop" } }),
    queued: pick([], [send(pick("a", "b", "c"))]),
    settled: pick([], [pick("a", "b", "c")]),
    marks: new Map(pick([], [["team", seq()]])),
    begins: new Map(pick([], [], [], [["team", seq()]])),
    rebuilt: any(4) === 0,
    taken: any(6),
  };
}

test("both sorts of tables do the same, whatever happens", async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const any = randomly(seed);
    const memory = new Store(new MemoryTables());
    const indexed = new Store(await IndexedTables.open(`random ${seed}`));
    const both = async <Result>(ask: (store: Store) => Promise<Result>) => {
      expect(await ask(indexed), `seed ${seed}`).toEqual(await ask(memory));
    };
    await both((store) => store.load());
    for (let step = 0; step < 6; step++) {
      const next = anyChange(any);
      const limit = 1 + any(12);
      await both((store) => store.apply(next));
      await both((store) => store.messages("team", { limit, before: 1 + limit }));
      await both((store) => store.messages("team"));
      await both((store) => store.mark("team"));
      if (step % 3 === 2) await both((store) => store.sweep(10));
    }
    await both((store) => store.load());
    indexed.close();
  }
});

test("messages that come together end as they do one by one", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const any = randomly(seed);
    const [together, apart] = [new Store(new MemoryTables()), new Store(new MemoryTables())];
    for (const store of [together, apart]) await store.load();
    for (let step = 0; step < 3; step++) {
      const owner = { user: "alice", device: "laptop" };
      const arrivals = Array.from({ length: 4 }, () => anyChange(any).arrivals).flat();
      const numbers = await together.apply(change({ owner, arrivals }));
      const single: (number | null)[] = [];
      for (const one of arrivals) {
        single.push(...(await apart.apply(change({ owner, arrivals: [one] }))));
      }
      expect(numbers, `seed ${seed}`).toEqual(single);
      expect(await together.messages("team"), `seed ${seed}`).toEqual(await apart.messages("team"));
    }
  }
});

/** How often IndexedDB is asked to read, while something is done. */
async function reads(work: () => Promise<unknown>): Promise<number> {
  const store = IDBObjectStore.prototype;
  const spies = [vi.spyOn(store, "get"), vi.spyOn(store, "getAll"), vi.spyOn(store, "getAllKeys")];
  await work();
  const count = spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  for (const spy of spies) spy.mockRestore();
  return count;
}

test("a page of new messages is read about as a whole, not message by message", async () => {
  const store = new Store(await IndexedTables.open(`page ${++databases}`));
  await store.load();
  const page = Array.from({ length: 100 }, (_, at) => message(1 + at));
  expect(await reads(() => put(store, ...page))).toBeLessThanOrEqual(8);
  // What is here already is looked at, each by itself: its changes may be newer.
  expect(await reads(() => put(store, ...page))).toBeGreaterThan(100);
  expect(seqs(await store.messages("team"))).toEqual(page.map(({ seq }) => seq).reverse());
  store.close();
});
