import { describe, expect, test, vi } from "vitest";
import { Posted } from "../src/acts.js";
import { Backoff, Sleeper, surroundings, toldPauseMs } from "../src/backoff.js";
import { error, faultOf, TimewireError } from "../src/errors.js";
import type { Event } from "../src/events.js";
import { Feed, MAX_NEWS_EVENTS, type Numbered } from "../src/feed.js";
import { httpUrl, socketUrl } from "../src/link.js";
import { byCodePoint, checkId, checkName, direct } from "../src/names.js";
import { isSame } from "../src/outbox.js";
import { decode } from "../src/protocol.js";
import { MAX_UNREAD_EVENTS } from "../src/session.js";
import { Tokens } from "../src/tokens.js";
import { message } from "./frames.js";

function code(call: () => unknown): string {
  try {
    call();
  } catch (fault) {
    return (fault as TimewireError).code;
  }
  return "";
}

describe("pauses", () => {
  test("they grow, are random, and have an end", () => {
    const longest = new Backoff({ baseMs: 100, maxMs: 1000, random: () => 1 });
    expect([0, 1, 2, 3, 4, 5000].map((n) => longest.pauseMs(n))).toEqual([
      100, 200, 400, 800, 1000, 1000,
    ]);
    expect(new Backoff({ random: () => 0 }).pauseMs(9)).toBe(0);
    expect(new Backoff({ maxMs: 7 }).longestMs).toBe(7);
  });

  test("a server that stops may ask for one", () => {
    expect(toldPauseMs(4000, "shutting_down 250")).toBe(250);
    expect(toldPauseMs(4000, "shutting_down 99999999")).toBe(60_000);
    for (const reason of ["shutting_down", "", "shutting_down -5", "shutting_down 9999999999"]) {
      expect(toldPauseMs(4000, reason)).toBe(0);
    }
    expect(toldPauseMs(4002, "silent 250")).toBe(0);
  });

  test("they can be ended", async () => {
    const sleeper = new Sleeper();
    const slept = [sleeper.sleep(1_000_000), sleeper.sleep(2_000_000)];
    sleeper.wake();
    await Promise.all(slept);
    await sleeper.sleep(1);
  });

  test("a page hears of the network and of being looked at", () => {
    const page = Object.assign(new EventTarget(), { visibilityState: "hidden" });
    const world = new EventTarget();
    vi.stubGlobal("document", page);
    vi.stubGlobal("addEventListener", world.addEventListener.bind(world));
    vi.stubGlobal("removeEventListener", world.removeEventListener.bind(world));
    const around = surroundings();
    let wakes = 0;
    const forget = around.onWake(() => {
      wakes += 1;
    });
    world.dispatchEvent(new globalThis.Event("online"));
    page.dispatchEvent(new globalThis.Event("visibilitychange"));
    expect([wakes, around.visible(), around.offline()]).toEqual([1, false, false]);
    page.visibilityState = "visible";
    page.dispatchEvent(new globalThis.Event("visibilitychange"));
    expect([wakes, around.visible()]).toEqual([2, true]);
    forget();
    world.dispatchEvent(new globalThis.Event("online"));
    expect(wakes).toBe(2);
    vi.unstubAllGlobals();
  });
});

describe("errors", () => {
  test("a code says what can be done, also one of a newer server", () => {
    expect(error("bad_name").kind).toBe("invalid");
    expect(error("not_connected")).toMatchObject({ kind: "retryable", retry: true });
    const told = {
      type: "error",
      code: "brand_new",
      message: "what?",
      id: "",
      fields: {},
    } as const;
    expect(faultOf({ ...told, retry: true })).toMatchObject({ kind: "retryable", retry: true });
    expect(faultOf({ ...told, retry: false })).toMatchObject({ kind: "invalid", retry: false });
    const there = new TimewireError("not_member", "no", { conversation: "team" });
    expect(faultOf(there.plain())).toEqual(there);
  });
});

describe("names", () => {
  test.each(["alice", "爱丽丝", "a.b-c@d", "x".repeat(128)])("%s is one", (name) => {
    expect(checkName(name)).toBe(name);
  });

  test.each(["", ".", "..", "a b", "a:b", "a/b", "a\u0000", "\ud800", "é".repeat(65)])(
    "%j is none",
    (name) => {
      expect(code(() => checkName(name))).toBe("bad_name");
    },
  );

  test("ids have rules too", () => {
    expect(checkId("a b:c/d")).toBe("a b:c/d");
    expect(code(() => checkId(""))).toBe("bad_id");
    expect(code(() => checkId("a\n"))).toBe("bad_id");
  });

  test("direct conversations have one name, in the server's order", () => {
    expect(direct("bob", "alice")).toBe("direct:alice:bob");
    expect(direct("alice", "alice")).toBe("self:alice");
    // U+FF5E comes before U+1F600, which UTF-16 writes with smaller units.
    expect(direct("\u{1F600}", "\uFF5E")).toBe("direct:\uFF5E:\u{1F600}");
    expect(byCodePoint("ab", "abc")).toBeLessThan(0);
    expect(byCodePoint("b", "abc")).toBeGreaterThan(0);
  });
});

describe("addresses", () => {
  test.each([
    ["https://chat.example.com", "wss://chat.example.com/v1/ws", "https://chat.example.com"],
    ["http://localhost:7447/", "ws://localhost:7447/v1/ws", "http://localhost:7447"],
    ["wss://example.com/im/?x=1#y", "wss://example.com/im/v1/ws", "https://example.com/im"],
    ["ws://example.com/v1/ws", "ws://example.com/v1/ws", "http://example.com"],
  ])("%s is found", (url, socket, http) => {
    expect([socketUrl(url), httpUrl(url)]).toEqual([socket, http]);
  });

  test.each(["", "example.com", "ftp://example.com"])("%j is refused", (url) => {
    expect(code(() => socketUrl(url))).toBe("bad_config");
  });
});

describe("tokens", () => {
  test("one that is refused is asked for again, a few times", async () => {
    let made = 0;
    const tokens = new Tokens(() => `token ${++made}`);
    expect([await tokens.get(), await tokens.get()]).toEqual(["token 1", "token 1"]);
    expect([tokens.renew(), tokens.renew(), tokens.renew(), tokens.renew()]).toEqual([
      ...[true, true, true, false],
    ]);
    tokens.accepted();
    expect(tokens.renew()).toBe(true);
    expect(await tokens.get()).toBe("token 2");
    expect(new Tokens("fixed").renew()).toBe(false);
  });

  test("a source that fails is tried again later", async () => {
    const tokens = new Tokens(() => Promise.reject(new Error("no network")));
    await expect(tokens.get()).rejects.toMatchObject({ code: "not_connected", retry: true });
    const denied = new Tokens(() => Promise.reject(new TimewireError("bad_token", "no")));
    await expect(denied.get()).rejects.toMatchObject({ code: "bad_token" });
  });
});

describe("the feed", () => {
  const arrival = (number: number): Numbered => [
    { type: "received", message: message(number) },
    number,
  ];
  const typing: Numbered = [{ type: "typing", conversation: "team", user: "bob" }, 0];
  const types = async (feed: Feed, count: number) => {
    const found: Event["type"][] = [];
    for (let at = 0; at < count; at++) found.push((await feed.next()).value.type);
    return found;
  };

  test("an event is dealt with when the app asks for the next one", async () => {
    const feed = new Feed();
    feed.put([arrival(1), typing, arrival(2)]);
    await feed.next();
    expect([feed.taken, feed.unread]).toEqual([0, 1]);
    await types(feed, 2);
    expect([feed.taken, feed.unread, feed.idle]).toEqual([1, 0, true]);
    const waiting = feed.next();
    expect(feed.taken).toBe(2);
    feed.put([arrival(2), arrival(3)]);
    expect((await waiting).value).toMatchObject({ message: { seq: 3 } });
  });

  test("it tells of progress, and ends", async () => {
    const feed = new Feed();
    let progress = 0;
    feed.progress = () => {
      progress += 1;
    };
    feed.put([arrival(1)]);
    await feed.next();
    expect(progress).toBe(1);
    const last = feed.next();
    expect(progress).toBe(2);
    feed.finish();
    expect(await last).toEqual({ done: true, value: undefined });
    const broken = new Feed();
    broken.put([arrival(1)]);
    broken.finish(new TimewireError("replaced", "by another one"));
    expect((await broken.next()).value.type).toBe("received");
    await expect(broken.next()).rejects.toMatchObject({ code: "replaced" });
  });

  test("news that nobody reads is dropped, messages are not", async () => {
    const feed = new Feed();
    feed.put(Array.from({ length: MAX_NEWS_EVENTS + 5 }, () => typing));
    feed.put([arrival(1)]);
    expect((await types(feed, MAX_NEWS_EVENTS + 1)).at(-1)).toBe("received");
  });

  test("a tab that overhears too much is told that it has missed some", async () => {
    const feed = new Feed();
    const many = Array.from({ length: MAX_UNREAD_EVENTS }, (_, at) => arrival(at + 1));
    feed.overhear(many);
    feed.overhear([arrival(MAX_UNREAD_EVENTS + 1)]);
    feed.overhear([arrival(MAX_UNREAD_EVENTS + 2)]);
    const found = await types(feed, MAX_UNREAD_EVENTS + 1);
    expect(found.at(-1)).toBe("reset");
    const waiting = feed.next();
    feed.overhear([arrival(MAX_UNREAD_EVENTS + 3)]);
    expect((await waiting).value).toMatchObject({ message: { seq: MAX_UNREAD_EVENTS + 3 } });
  });
});

test("frames are filled in, however deep; those of newer servers are passed over", () => {
  expect(decode('{"type": "brand_new"}')).toBeNull();
  expect(decode('{"type": "toString"}')).toBeNull();
  const bare = { conversation: "team", seq: 1, time: 2 };
  const page = { type: "search_page", id: "q", watermark: 9, hits: [{ message: bare }] };
  expect(decode(JSON.stringify(page))).toMatchObject({
    next: "",
    hits: [{ message: { kind: "", body: {}, mentions: [], reactions: {} } }],
  });
});

test("equal is what says the same", () => {
  expect(isSame({ a: [1, { b: null }], c: "x" }, { c: "x", a: [1, { b: null }] })).toBe(true);
  for (const other of [{}, [], null, 1, { a: [1] }, { b: 1 }, { a: [1, 2], b: 1 }]) {
    expect(isSame({ a: [1, 2] }, other)).toBe(false);
  }
});

test("a receipt can be awaited often, or let go", async () => {
  const ack = { type: "ack", id: "a", seq: 7, time: 9, synced: false } as const;
  const posted = new Posted("a", Promise.resolve(ack));
  expect([await posted, await posted]).toEqual([
    { id: "a", seq: 7, time: 9 },
    { id: "a", seq: 7, time: 9 },
  ]);
  new Posted("b", Promise.reject(new TimewireError("not_member", "no")));
});
