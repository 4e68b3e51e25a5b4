import "fake-indexeddb/auto";
import { afterEach, expect, test, vi } from "vitest";
import { Driver } from "../src/driver.js";
import type { Event } from "../src/events.js";
import { Feed } from "../src/feed.js";
import { IndexedTables } from "../src/indexed.js";
import { Store } from "../src/store.js";
import { Tabs } from "../src/tabs.js";
import { ack, frame, message, problem, push, send, welcome } from "./frames.js";
import { Line, Page, parts } from "./line.js";
import { Locks } from "./locks.js";

let browsers = 0;
const opened: Tabs[] = [];

/** A browser whose tabs are one device, on one line. */
class Browser {
  readonly name = `browser ${++browsers}`;
  readonly line = new Line();
  readonly locks = new Locks();

  async tab(page = new Page()): Promise<Tabs> {
    const store = new Store(await IndexedTables.open(this.name));
    const feed = new Feed();
    const options = parts(this.line, { store, feed, surroundings: page });
    const tab = new Tabs({
      name: this.name,
      feed,
      store,
      surroundings: page,
      locks: this.locks as unknown as LockManager,
      lead: (audience) => Driver.start({ ...options, audience }),
    });
    opened.push(tab);
    return tab;
  }
}

afterEach(async () => {
  vi.useRealTimers();
  for (const tab of opened.splice(0)) {
    await tab.stop();
    tab.store.close();
  }
});

const live = (tab: Tabs) => tab.until(({ state }) => state === "live");

async function next(tab: Tabs, type: Event["type"]): Promise<Event> {
  for await (const event of tab.feed) if (event.type === type) return event;
  throw new Error("the feed has ended");
}

test("tabs share one connection: all see what happens, each gets its answers", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  const second = await browser.tab();
  await live(second);
  expect(second.standing).toEqual({ user: "alice", state: "live", outbox: 0 });

  const sent = second.put(send("a"));
  expect(second.standing.outbox).toBe(1);
  await end.hears("send");
  end.say(ack("a", 1), push(message(2)));
  expect(await sent).toMatchObject({ id: "a", seq: 1 });
  await second.until(({ outbox }) => outbox === 0);
  for (const tab of [first, second]) {
    expect(await next(tab, "acked")).toMatchObject({ message: { seq: 1 } });
    expect(await next(tab, "received")).toMatchObject({ message: { seq: 2 } });
  }

  const asked = second.ask({ type: "members", id: "q", conversation: "team" });
  await end.hears("members");
  const members = { type: "member_page", id: "q", conversation: "team", members: ["bob"] };
  end.say(frame({ ...members, has_more: false }));
  expect(await asked).toMatchObject({ members: ["bob"] });
  expect(browser.line.calls).toBe(1);
});

test("a refusal reaches the tab that asked, as what it is", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  const second = await browser.tab();
  const sent = second.put(send("a"));
  await end.hears("send");
  end.say(problem("not_member", "a"));
  await expect(sent).rejects.toMatchObject({ code: "not_member", kind: "forbidden" });
  const refused = { id: "a", conversation: "team", error: { code: "not_member" } };
  expect(await next(second, "refused")).toMatchObject(refused);
});

test("when the leading tab closes another one goes on, and nothing is lost", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  const second = await browser.tab();
  await live(second);
  const sent = second.put(send("a"));
  await end.hears("send");
  const own = first.put(send("b")).catch((fault) => fault.code);
  await first.stop();
  expect(await own).toBe("closed");

  const after = await browser.line.call(2);
  after.say(welcome());
  expect((await after.hears("send", 2)).map(({ id }) => id)).toEqual(["a", "b"]);
  after.say(ack("a", 1), ack("b", 2));
  expect(await sent).toMatchObject({ seq: 1 });
  await second.until(({ outbox }) => outbox === 0);
  expect((await second.store.messages("team")).map(({ id }) => id)).toEqual(["b", "a"]);
});

test("one tab of many takes over", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  await browser.line.online();
  await live(first);
  const others = [await browser.tab(), await browser.tab(), await browser.tab()];
  await Promise.all(others.map(live));
  await first.stop();
  const end = await browser.line.online(2);
  const sent = others.map((tab, at) => tab.put(send(`${at}`)));
  await end.hears("send", 3);
  end.say(...[0, 1, 2].map((at) => ack(`${at}`, at + 1)));
  expect(await Promise.all(sent)).toMatchObject([{ seq: 1 }, { seq: 2 }, { seq: 3 }]);
  expect(browser.line.calls).toBe(2);
});

test("a tab that is looked at takes over from one that is asleep, which cannot write", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  // Asleep: it neither hears nor says anything any more, and holds its lock.
  const channel = vi.spyOn(BroadcastChannel.prototype, "postMessage");
  channel.mockImplementation(() => undefined);
  const second = await browser.tab();
  channel.mockRestore();
  await vi.advanceTimersByTimeAsync(3_000);
  vi.useRealTimers();
  const after = await browser.line.online(2);
  await live(second);
  end.say(push(message(1)));
  after.say(push(message(2)));
  expect(await next(second, "received")).toMatchObject({ message: { seq: 2 } });
  expect((await second.store.messages("team")).map(({ seq }) => seq)).toEqual([2]);
  // It wakes up, and follows.
  await live(first);
  expect(first.standing.user).toBe("alice");
  expect(browser.line.calls).toBe(2);
});

test("a tab that nobody looks at waits for its turn", async () => {
  const browser = new Browser();
  const asleep = browser.locks.request(`timewire:${browser.name}`, {}, () => new Promise(() => {}));
  const stolen = expect(asleep).rejects.toMatchObject({ name: "AbortError" });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const page = new Page();
  page.seen = false;
  await browser.tab(page);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(browser.line.calls).toBe(0);
  page.seen = true;
  page.wake();
  await vi.advanceTimersByTimeAsync(10_000);
  vi.useRealTimers();
  await browser.line.call(1);
  await stolen;
});

test("what ends the device ends all tabs", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  const second = await browser.tab();
  await live(second);
  const asked = second.ask({ type: "conversations", id: "q" });
  await end.hears("conversations");
  end.close(4200, "replaced");
  for (const tab of [first, second]) {
    await expect(tab.until(() => false)).rejects.toMatchObject({ code: "replaced" });
    await expect(tab.put(send("a"))).rejects.toMatchObject({ code: "replaced" });
  }
  await expect(asked).rejects.toMatchObject({ code: "replaced" });
});

test("what the tabs want to watch is watched together", async () => {
  const browser = new Browser();
  const first = await browser.tab();
  const end = await browser.line.online();
  await live(first);
  const second = await browser.tab();
  await live(second);
  first.tell({ type: "watch", users: ["bob"] });
  second.tell({ type: "watch", users: ["eve", "bob"] });
  expect((await end.hears("watch", 2))[1]?.users).toEqual(["bob", "eve"]);
  await second.stop();
  expect((await end.hears("watch", 3))[2]?.users).toEqual(["bob"]);
});
