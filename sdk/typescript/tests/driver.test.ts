import { afterEach, describe, expect, test, vi } from "vitest";
import { Backoff } from "../src/backoff.js";
import { Driver, type DriverOptions } from "../src/driver.js";
import { TimewireError } from "../src/errors.js";
import type { Event } from "../src/events.js";
import { MemoryTables } from "../src/memory.js";
import type { Message } from "../src/protocol.js";
import { LOW_UNREAD_EVENTS } from "../src/session.js";
import { Store } from "../src/store.js";
import type { Tables } from "../src/tables.js";
import { ack, frame, message, page, problem, push, send, seqs, welcome } from "./frames.js";
import { Line, Page, parts } from "./line.js";

const running: Driver[] = [];

async function start(options: DriverOptions): Promise<Driver> {
  const driver = await Driver.start(options);
  running.push(driver);
  return driver;
}

afterEach(async () => {
  vi.useRealTimers();
  for (const driver of running.splice(0)) await driver.stop();
});

/** Events until there were so many of a type, without news of the connection. */
async function events(driver: Driver, type: Event["type"], count = 1): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of driver.feed) {
    found.push(event);
    if (found.filter((one) => one.type === type).length === count) break;
  }
  return found.filter(({ type }) => !["connected", "live", "disconnected"].includes(type));
}

const live = (driver: Driver) => driver.until(({ state }) => state === "live");

describe("connecting", () => {
  test("it comes again until there is an answer, and again when a connection breaks", async () => {
    const line = new Line();
    line.refusals = 3;
    const driver = await start(parts(line));
    (await line.online()).close();
    await line.online(2);
    await live(driver);
    expect(line.calls).toBe(5);
    expect(driver.standing).toEqual({ user: "alice", state: "live", outbox: 0 });
  });

  test("pauses grow with failures and begin anew after success", async () => {
    const line = new Line();
    const asked: number[] = [];
    class Counting extends Backoff {
      override pauseMs(attempt: number): number {
        asked.push(attempt);
        return 0;
      }
    }
    line.refusals = 3;
    const driver = await start(parts(line, { backoff: new Counting() }));
    const first = await line.online();
    await live(driver);
    first.close();
    await line.call(2);
    expect(asked).toEqual([0, 1, 2, 0]);
  });

  test("without a network it waits, and comes back at once with it", async () => {
    const [line, around] = [new Line(), new Page()];
    around.gone = true;
    line.refusals = 1;
    const backoff = new Backoff({ maxMs: 1_000_000 });
    await start(parts(line, { surroundings: around, backoff }));
    await expect.poll(() => line.calls).toBe(1);
    around.gone = false;
    const woken = () => {
      around.wake();
      return line.calls;
    };
    await expect.poll(woken).toBe(2);
  });

  test("a page that wakes up doubts its connection", async () => {
    const [line, around] = [new Line(), new Page()];
    const driver = await start(parts(line, { surroundings: around }));
    const end = await line.online();
    await live(driver);
    around.wake();
    expect(end.probed).toBe(1);
  });

  test("a token that is refused is asked for again; one that cannot be had ends it", async () => {
    const line = new Line();
    const given = ["first", "second"];
    await start(parts(line, { token: () => given.shift() ?? "third" }));
    const end = await line.call(1);
    end.say(problem("token_expired", ""));
    end.close(4101, "token_expired");
    const [hello] = await (await line.call(2)).hears("hello");
    expect(hello?.token).toBe("second");

    const other = new Line();
    const driver = await start(parts(other, { token: "only one" }));
    (await other.call(1)).close(4100, "bad_token");
    await expect(live(driver)).rejects.toMatchObject({ code: "bad_token" });
    await expect(driver.put(send("a"))).rejects.toMatchObject({ code: "bad_token" });
  });

  test("a token is renewed on its connection, and what cannot be had is tried again", async () => {
    const line = new Line();
    const given: (() => string)[] = [() => "first", () => "second"];
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const token = () => {
      const next = given.shift();
      if (!next) throw new Error("no network");
      return next();
    };
    await start(parts(line, { token }));
    const end = await line.call(1);
    end.say(welcome("0", { expires: 100_001 }));
    await expect.poll(() => vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(75_000);
    expect((await end.hears("renew"))[0]).toMatchObject({ token: "second" });
    end.say(frame({ type: "renewed", id: "renew", expires: 20_000, time: 10_000 }));
    await expect.poll(() => vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(7_500);
    given.push(() => "third");
    await vi.advanceTimersByTimeAsync(5_000);
    expect((await end.hears("renew", 2))[1]).toMatchObject({ token: "third" });
    expect(line.calls).toBe(1);
  });

  test("a device that was replaced does not come back", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const end = await line.online();
    await live(driver);
    end.close(4200, "replaced");
    await expect(driver.until(() => false)).rejects.toMatchObject({ code: "replaced" });
    expect(line.calls).toBe(1);
  });
});

describe("the outbox", () => {
  test("it survives the end of the app", async () => {
    const tables = new MemoryTables();
    const [line, later] = [new Line(), new Line()];
    line.refusals = Number.POSITIVE_INFINITY;
    const before = await start(parts(line, { store: new Store(tables) }));
    const lost = ["a", "b"].map((id) => before.put(send(id)).catch((fault) => fault.code));
    await before.stop();
    expect(await Promise.all(lost)).toEqual(["closed", "closed"]);
    const after = await start(parts(later, { store: new Store(tables) }));
    expect(after.standing.outbox).toBe(2);
    const end = await later.online();
    const said = await end.hears("send", 2);
    expect(said).toEqual([send("a"), send("b")]);
    end.say(ack("a", 1), ack("b", 2));
    await after.until(({ outbox }) => outbox === 0);
    expect((await new Store(tables).load()).outbox).toEqual([]);
  });

  test("an ack that was lost comes again, and the message is there once", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const sent = driver.put(send("a"));
    const first = await line.online();
    await first.hears("send");
    first.close();
    const second = await line.online(2);
    await second.hears("send");
    second.say(push(message(7, { from: "alice", id: "a" })), ack("a", 7), ack("a", 7));
    expect(await sent).toMatchObject({ id: "a", seq: 7 });
    second.say(push(message(8)));
    const seen = (await events(driver, "received")) as { type: string; message: Message }[];
    expect(seen.map((one) => [one.type, one.message.seq])).toEqual([
      ["acked", 7],
      ["received", 8],
    ]);
  });

  test("a pause that the server asks for is taken; a refusal reaches the caller", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const [one, two] = [driver.put(send("a")), driver.put(send("b"))];
    const end = await line.online();
    await end.hears("send", 2);
    end.say(problem("rate_limited", "a", true), problem("not_member", "b"));
    await expect(two).rejects.toMatchObject({ code: "not_member", kind: "forbidden" });
    await end.hears("send", 3);
    end.say(ack("a", 1));
    expect((await one).seq).toBe(1);
  });

  test("a refused send goes again after the time that the server has told, in its order", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const sent = [driver.put(send("a")), driver.put(send("b"))];
    const end = await line.online();
    await end.hears("send", 2);
    const before = performance.now();
    end.say(problem("rate_limited", "a", true, { retry_after: 120 }));
    end.say(problem("out_of_turn", "b", true));
    await end.hears("send", 4);
    expect(performance.now() - before).toBeGreaterThanOrEqual(119);
    end.say(ack("a", 1), ack("b", 2));
    expect((await Promise.all(sent)).map((one) => one.seq)).toEqual([1, 2]);
  });

  test("what is asked for at any moment is done", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const end = await line.online();
    for (let turns = 0; turns < 30; turns++) {
      void driver.put(send(`first ${turns}`)).catch(() => undefined);
      for (let turn = 0; turn < turns; turn++) await undefined;
      void driver.put(send(`then ${turns}`)).catch(() => undefined);
      await end.hears("send", 2 * turns + 2);
      end.say(ack(`first ${turns}`, 2 * turns + 1), ack(`then ${turns}`, 2 * turns + 2));
    }
    await driver.until(({ outbox }) => outbox === 0);
  });
});

describe("events", () => {
  test("what the app has not dealt with comes again after a restart", async () => {
    const tables = new MemoryTables();
    const line = new Line();
    const driver = await start(parts(line, { store: new Store(tables) }));
    (await line.online()).say(...[1, 2, 3].map((seq) => push(message(seq))));
    await events(driver, "received", 2);
    await driver.stop();
    const later = new Line();
    const next = await start(parts(later, { store: new Store(tables) }));
    const again = (await events(next, "received", 2)) as { message: Message }[];
    expect(seqs(again.map((one) => one.message))).toEqual([2, 3]);
    expect((await later.call(1)).heard).toMatchObject([{ cursor: { base: "base", pos: "3" } }]);
  });

  test("a push that comes twice is shown once", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    const [one, two] = [push(message(1)), push(message(2))];
    (await line.online()).say(one, one, two, one);
    const seen = (await events(driver, "received", 2)) as { message: Message }[];
    expect(seqs(seen.map((each) => each.message))).toEqual([1, 2]);
    expect(driver.feed.unread).toBe(0);
  });

  test("a store that cannot write ends the device, and nothing moves on", async () => {
    const tables = new MemoryTables();
    let broken = false;
    const failing: Tables = {
      run: (mode, work) =>
        broken && mode === "readwrite"
          ? Promise.reject(new TimewireError("storage_unavailable", "disk full"))
          : tables.run(mode, work),
      close() {},
    };
    const line = new Line();
    const driver = await start(parts(line, { store: new Store(failing) }));
    const end = await line.online();
    await live(driver);
    broken = true;
    end.say(push(message(1)));
    await expect(driver.until(() => false)).rejects.toMatchObject({ code: "storage_unavailable" });
    expect((await new Store(tables).load()).cursor?.pos).toBe("0");
  });
});

test("what was there already makes room for more", async () => {
  const line = new Line();
  const driver = await start(parts(line));
  const many = Array.from({ length: LOW_UNREAD_EVENTS + 1 }, (_, at) => message(at + 1));
  const first = await line.online();
  first.say(page(...many));
  await events(driver, "received", many.length);
  first.close();
  const second = await line.call(2);
  second.say(welcome(), page(...many));
  await second.hears("credit");
});

describe("after a reset", () => {
  const answer = (type: string, id: string, more: object) => frame({ type, id, ...more });
  const state = (conversation: string, last: Message, read = 0) => {
    const fixed = { kind: "group", title: "", member: true, unread: 0 };
    return { conversation, ...fixed, read, last };
  };

  test("it fetches what it misses, and goes on from there", async () => {
    const tables = new MemoryTables();
    const line = new Line();
    const driver = await start(parts(line, { store: new Store(tables) }));
    (await line.online()).say(push(message(1)), push(message(2, { conversation: "quiet" })));
    await events(driver, "received", 2);
    line.ends[0]?.close();
    const end = await line.call(2);
    end.say(welcome("90"), frame({ type: "reset", reason: "expired", base: "new", pos: "90" }));
    end.say(frame({ type: "live", pos: "90" }), push(message(91)));
    const [asked] = await end.hears("conversations");
    const last = message(80);
    const all = [state("lost", message(85)), state("quiet", message(2, { conversation: "quiet" }))];
    const conversations = [...all, state("team", last, 70)];
    end.say(answer("conversation_page", asked?.id ?? "", { conversations, has_more: false }));
    const [first] = await end.hears("history");
    expect(first?.conversation).toBe("lost");
    end.say(problem("not_member", first?.id ?? ""));
    const [, second] = await end.hears("history", 2);
    const fetched = { conversation: "team", messages: [last, message(79)], has_more: true };
    end.say(answer("history_page", second?.id ?? "", fetched));
    const third = await line.call(3);
    expect(third.heard).toMatchObject([{ cursor: { base: "new", pos: "90" } }]);
    third.say(
      welcome("90", { base: "new" }),
      page(message(91)),
      frame({ type: "live", pos: "91" }),
    );
    const seen = await events(driver, "received", 3);
    expect(seen[0]).toEqual({ type: "reset", reason: "expired" });
    const messages = seen.slice(1) as { message: Message }[];
    expect(seqs(messages.map((one) => one.message))).toEqual([79, 80, 91]);
    // What stands before the page that was fetched may have been changed.
    expect(seqs(await driver.store.messages("team"))).toEqual([91, 80, 79]);
    expect(await driver.store.mark("team")).toBe(70);
    expect(end.heard.filter(({ type }) => type === "history")).toHaveLength(2);
  });

  test("what was sent meanwhile does not hide what was missed before it", async () => {
    const line = new Line();
    const driver = await start(parts(line));
    (await line.online()).say(push(message(1)));
    await events(driver, "received");
    line.ends[0]?.close();
    const end = await line.call(2);
    end.say(welcome("2"), frame({ type: "reset", reason: "expired", base: "new", pos: "2" }));
    const [asked] = await end.hears("conversations");
    const sent = driver.put(send("a"));
    await end.hears("send");
    end.say(ack("a", 3));
    await sent;
    const conversations = [state("team", message(2))];
    end.say(answer("conversation_page", asked?.id ?? "", { conversations, has_more: false }));
    expect((await end.hears("history"))[0]?.conversation).toBe("team");
  });

  test("a rebuild that was broken off is begun again, also by the next app", async () => {
    const tables = new MemoryTables();
    const line = new Line();
    const driver = await start(parts(line, { store: new Store(tables) }));
    const first = await line.call(1);
    first.say(welcome(), frame({ type: "reset", reason: "other_log", base: "new", pos: "9" }));
    await first.hears("conversations");
    first.close();
    const second = await line.call(2);
    second.say(welcome("9", { base: "new" }));
    await second.hears("conversations");
    await driver.stop();
    const later = new Line();
    const next = await start(parts(later, { store: new Store(tables) }));
    const end = await later.call(1);
    end.say(welcome("9", { base: "new" }));
    const [asked] = await end.hears("conversations");
    end.say(answer("conversation_page", asked?.id ?? "", { conversations: [], has_more: false }));
    await later.online(2, "9");
    await live(next);
    expect((await new Store(tables).load()).reset).toBeUndefined();
  });
});

test("queries wait for a connection, and are asked again on the next one", async () => {
  const line = new Line();
  const driver = await start(parts(line));
  const query = { type: "history", id: "q", conversation: "team", limit: 10 } as const;
  const answer = driver.ask(query);
  const first = await line.online();
  await first.hears("history");
  first.close();
  const second = await line.online(2);
  await second.hears("history");
  const told = { type: "history_page", id: "q", conversation: "team" };
  second.say(frame({ ...told, messages: [message(1)], has_more: false }));
  expect(await answer).toMatchObject({ messages: [{ seq: 1 }] });
});
