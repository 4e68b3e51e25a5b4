import { describe, expect, test } from "vitest";
import { TimewireError } from "../src/errors.js";
import type { Command, ServerFrame } from "../src/protocol.js";
import {
  advice,
  type Effects,
  LOW_UNREAD_EVENTS,
  MAX_UNREAD_EVENTS,
  Session,
} from "../src/session.js";
import { nothing, type Saved } from "../src/store.js";
import { ack, frame, live, message, page, problem, push, send, seqs, welcome } from "./frames.js";

const NEW: Saved = { outbox: [], unread: [] };
const KNOWN: Saved = {
  ...NEW,
  owner: { user: "alice", device: "laptop" },
  cursor: { base: "base", pos: "5" },
};

/** What is to be done after these frames, all in one. */
function played(session: Session, ...frames: ServerFrame[]): Effects {
  session.effects();
  for (const one of frames) session.receive(one);
  return session.effects();
}

/** A session that is live at position 0. */
function online(saved = NEW): Session {
  const session = new Session(saved, "laptop");
  session.opened("token");
  played(session, welcome(), live());
  return session;
}

function reconnected(session: Session): Effects {
  session.closed(1006, "broke");
  session.opened("token");
  return played(session, welcome());
}

const ids = ({ frames }: Effects) => frames.map((one) => ("id" in one ? one.id : one.type));
const arrived = ({ change }: Effects) => seqs(change.arrivals.map((one) => one.message));

function fault(call: () => unknown): TimewireError {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof TimewireError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

describe("coming online", () => {
  test("a new device says hello without a cursor and keeps the one it gets", () => {
    const session = new Session(NEW, "laptop");
    session.opened("secret");
    expect(session.effects().frames).toEqual([
      { type: "hello", token: "secret", device: "laptop" },
    ]);
    const done = played(session, welcome("17"), live("17"));
    const owner = { user: "alice", device: "laptop" };
    expect(done.change).toEqual({ ...nothing(), owner, cursor: { base: "base", pos: "17" } });
    expect(done.events).toEqual([{ type: "connected" }, { type: "live" }]);
    expect(session.state).toBe("live");
  });

  test("a known device shows its cursor and does not move it by the welcome", () => {
    const session = new Session(KNOWN, "laptop");
    session.opened("token");
    expect(session.effects().frames).toMatchObject([{ cursor: { base: "base", pos: "5" } }]);
    expect(played(session, welcome("5")).change).toEqual(nothing());
    expect(session.state).toBe("catching_up");
  });

  test("pages are saved with their cursor and give credit back", () => {
    const session = new Session(KNOWN, "laptop");
    session.opened("token");
    const done = played(session, welcome("5"), page(message(6)), page(message(9)));
    expect(arrived(done)).toEqual([6, 9]);
    expect(done.change.cursor).toEqual({ base: "base", pos: "9" });
    const credit = { type: "credit", pages: 1 };
    expect(done.frames).toEqual([credit, credit]);
  });

  test("sync frames before the welcome are not taken", () => {
    const session = new Session(NEW, "laptop");
    session.opened("token");
    const done = played(session, push(message(1)), frame({ type: "at", pos: "4" }));
    expect(done.change).toEqual(nothing());
  });

  test("a device that is behind catches up and is live again", () => {
    const session = online();
    expect(played(session, frame({ type: "behind", pos: "4" })).change.cursor).toBeUndefined();
    expect(session.state).toBe("behind");
    played(session, page(message(5)), live("5"));
    expect(session.state).toBe("live");
  });

  test("connections are told once each", () => {
    const session = online();
    session.closed(1006, "broke");
    session.closed(1006, "no way");
    expect(session.effects().events).toEqual([{ type: "disconnected", reason: "broke" }]);
    session.opened("token");
    expect(played(session, welcome()).events).toEqual([{ type: "connected" }]);
  });

  test("a store serves one device of one user", () => {
    expect(fault(() => new Session(KNOWN, "phone")).code).toBe("wrong_store");
    const session = new Session(KNOWN, "laptop");
    const other = welcome("5", { user: "eve" });
    expect(fault(() => played(session, other)).code).toBe("wrong_store");
  });

  test("a hello that is wrong ends the device; one that is refused says why", () => {
    const session = new Session(NEW, "laptop");
    session.opened("token");
    expect(fault(() => played(session, problem("bad_name", ""))).code).toBe("bad_name");
    played(session, problem("bad_token", ""));
    const [what, why] = session.closed(4100, "bad_token");
    expect([what, why.code, why.kind]).toEqual(["renew", "bad_token", "forbidden"]);
  });

  test.each([
    [1006, "reconnect"],
    [4000, "reconnect"],
    [4100, "renew"],
    [4101, "renew"],
    [4200, "stop"],
    [4201, "stop"],
  ])("a close with %i means %s", (code, what) => {
    expect(advice(code)).toBe(what);
  });
});

describe("writing", () => {
  test("a command waits for the welcome and is saved at once", () => {
    const session = new Session(NEW, "laptop");
    session.put(send("a"));
    const done = session.effects();
    expect([done.change.queued, done.frames]).toEqual([[send("a")], []]);
    session.opened("token");
    expect(played(session, welcome()).frames).toEqual([send("a")]);
  });

  test("an ack makes the message, once", () => {
    const session = online();
    session.put(send("a"));
    const done = played(session, ack("a", 7));
    const stored = message(7, { from: "alice", id: "a", body: { text: "a" } });
    expect(done.events).toEqual([{ type: "acked", message: stored }]);
    expect(done.change.settled).toEqual(["a"]);
    expect(done.answers).toEqual([["a", ack("a", 7)]]);
    expect(session.outbox).toBe(0);
    expect(played(session, ack("a", 7)).change).toEqual(nothing());
  });

  test("one's own message in a page is no foreign one", () => {
    const session = online();
    session.put(send("a"));
    const mine = message(7, { from: "alice", id: "a" });
    const elsewhere = message(8, { from: "alice", id: "b" });
    const types = played(session, page(mine, elsewhere)).events.map(({ type }) => type);
    expect(types).toEqual(["acked", "received"]);
  });

  test("no more than the server allows is in flight", () => {
    const session = online();
    for (const id of "abcde") session.put(send(id));
    expect(ids(session.effects())).toEqual(["a", "b", "c"]);
    expect(ids(played(session, ack("b", 1)))).toEqual(["d"]);
    expect(ids(played(session, ack("a", 2), ack("c", 3)))).toEqual(["e"]);
  });

  test("after a lost connection all that has no answer goes again, in order", () => {
    const session = online();
    for (const id of "abcd") session.put(send(id));
    played(session, ack("b", 1));
    expect(ids(reconnected(session))).toEqual(["a", "c", "d"]);
  });

  test("a restored outbox goes first", () => {
    const session = new Session({ ...NEW, outbox: [send("old")] }, "laptop");
    session.put(send("new"));
    session.opened("token");
    expect(ids(played(session, welcome()))).toEqual(["old", "new"]);
  });

  test("what the server cannot do now goes again after one pause, in order", () => {
    const session = online();
    for (const id of "abcd") session.put(send(id));
    const busy = [problem("rate_limited", "a", true), problem("rate_limited", "b", true)];
    const done = played(session, ...busy, ack("c", 1));
    expect([done.pause, done.frames]).toEqual([true, []]);
    expect(played(session, problem("rate_limited", "a", true)).pause).toBe(false);
    session.resume();
    expect(ids(session.effects())).toEqual(["a", "b", "d"]);
  });

  test.each([
    [250, 250],
    [10_000_000, 60_000],
    [-5, 0],
    ["soon", 0],
    [undefined, 0],
  ])("a server that asks to wait for %s ms is heeded, within reason", (retry_after, pauseMs) => {
    const session = online();
    session.put(send("a"));
    const refused = problem("rate_limited", "a", true, { retry_after });
    expect(played(session, refused).pauseMs).toBe(pauseMs);
  });

  test("a new connection ends the pause", () => {
    const session = online();
    session.put(send("a"));
    played(session, problem("outcome_unknown", "a", true));
    expect(ids(reconnected(session))).toEqual(["a"]);
  });

  test("a final refusal ends a command and lets the next go", () => {
    const session = online();
    for (const id of "abcd") session.put(send(id));
    const done = played(session, problem("not_member", "b"));
    const [[id, refusal]] = done.answers as [[string, TimewireError]];
    expect([id, refusal.code, refusal.kind]).toEqual(["b", "not_member", "forbidden"]);
    expect(done.events).toEqual([
      { type: "refused", id: "b", conversation: "team", error: refusal },
    ]);
    expect(done.change.settled).toEqual(["b"]);
    expect(ids(done)).toEqual(["d"]);
  });

  test("what is too large is refused here and holds up nobody", () => {
    const session = new Session(NEW, "laptop");
    session.put({ ...send("huge"), body: { text: "x".repeat(5000) } });
    session.put(send("small"));
    session.opened("token");
    const done = played(session, welcome());
    expect(ids(done)).toEqual(["small"]);
    expect(done.answers).toMatchObject([["huge", { code: "frame_too_large" }]]);
  });

  test("the same command is queued once; another with its id is refused", () => {
    const session = online();
    session.put(send("a"));
    session.put({ body: { text: "a" }, to: "team", id: "a", type: "send" });
    expect(ids(session.effects())).toEqual(["a"]);
    expect(fault(() => session.put(send("a", "other"))).code).toBe("id_reused");
  });

  const CHANGES: [command: Command, conversation: string, kind: string, body: object][] = [
    [
      { type: "create", id: "a", conversation: "team", members: ["bob", "alice"], title: "Team" },
      "team",
      "created",
      { kind: "group", members: ["alice", "bob"], title: "Team" },
    ],
    [
      { type: "update", id: "a", conversation: "team", history: "all" },
      "team",
      "updated",
      { history: "all" },
    ],
    [
      { type: "add", id: "a", conversation: "team", users: ["eve", "eve"] },
      "team",
      "members",
      { joined: ["eve"], left: [] },
    ],
    [
      { type: "unban", id: "a", conversation: "team", users: ["eve"] },
      "team",
      "banned",
      { users: ["eve"], on: false },
    ],
    [
      { type: "react", id: "a", conversation: "team", seq: 3, emoji: "👍" },
      "team",
      "reaction",
      { seq: 3, emoji: "👍", on: true },
    ],
    [
      { type: "read", id: "a", conversation: "team", seq: 5 },
      "self:alice",
      "read",
      { conversation: "team", seq: 5 },
    ],
    [
      { type: "hide", id: "a", conversation: "team", seq: 5 },
      "self:alice",
      "hidden",
      { conversation: "team", seq: 5 },
    ],
  ];
  test.each(CHANGES)("%o becomes the message that others get", (command, where, kind, body) => {
    const session = online();
    session.put(command);
    const done = played(session, ack("a", 7));
    const written = message(7, { from: "alice", id: "a", conversation: where, kind });
    expect(done.events).toEqual([{ type: "acked", message: { ...written, body } }]);
  });
});

describe("asking", () => {
  const query = { type: "history", id: "q", conversation: "team", limit: 10 } as const;
  const answer = { type: "history_page", id: "q", conversation: "team", messages: [] };

  test("a query is asked again until it is answered", () => {
    const session = new Session(NEW, "laptop");
    session.ask(query);
    expect(session.effects().frames).toEqual([]);
    expect(reconnected(session).frames).toEqual([query]);
    expect(reconnected(session).frames).toEqual([query]);
    const told = frame({ ...answer, has_more: false });
    expect(played(session, told).answers).toEqual([["q", told]]);
    expect(played(session, told).answers).toEqual([]);
  });

  test("a query asks for no more than a page may hold", () => {
    const session = online();
    session.ask({ ...query, limit: 1000 });
    expect(session.effects().frames).toEqual([{ ...query, limit: 50 }]);
  });

  test("a query that cannot be answered now goes again after a pause; one may be refused", () => {
    const session = online();
    session.ask(query);
    expect(played(session, problem("too_busy", "q", true)).pause).toBe(true);
    session.resume();
    expect(session.effects().frames).toEqual([query]);
    const [[, refusal]] = played(session, problem("not_member", "q")).answers as [[string, object]];
    expect(refusal).toMatchObject({ kind: "forbidden" });
  });

  test("what is watched is watched on each connection; typing is said now or never", () => {
    const session = online();
    const watch = { type: "watch", id: "w", users: ["bob"] } as const;
    session.watch(watch);
    session.typing("team");
    expect(session.effects().frames).toEqual([watch, { type: "typing", conversation: "team" }]);
    session.closed(1006, "broke");
    session.typing("team");
    session.opened("token");
    expect(played(session, welcome()).frames).toEqual([watch]);
  });
});

describe("resets", () => {
  const reset = frame({ type: "reset", reason: "expired", base: "new", pos: "90" });

  function resetting(): Session {
    const session = new Session(KNOWN, "laptop");
    session.opened("token");
    const done = played(session, welcome("90"), reset, live("90"));
    const cursor = { base: "new", pos: "90" };
    expect(done.change).toEqual({ ...nothing(), cursor, reset: "expired" });
    expect([done.rebuild, session.state]).toEqual([true, "reset"]);
    return session;
  }

  test("while it is rebuilt a device takes no pushes but acks", () => {
    const session = resetting();
    session.put(send("a"));
    const done = played(session, push(message(91)), ack("a", 92));
    expect(arrived(done)).toEqual([92]);
    expect(done.change.cursor).toBeUndefined();
  });

  test("after the rebuild all that was let go comes again", () => {
    const session = resetting();
    played(session, push(message(91)));
    session.fetched([message(80)], new Map([["team", 80]]), new Map([["team", 80]]));
    const fetched = session.effects();
    expect(arrived(fetched)).toEqual([80]);
    expect([fetched.change.marks, fetched.change.begins]).toEqual([
      new Map([["team", 80]]),
      new Map([["team", 80]]),
    ]);
    session.rebuilt();
    expect(session.effects()).toMatchObject({ reconnect: true, change: { rebuilt: true } });
    session.closed(1000, "");
    session.opened("token");
    expect(session.effects().frames).toMatchObject([{ cursor: { base: "new", pos: "90" } }]);
    expect(arrived(played(session, welcome("90", { base: "new" }), page(message(91))))).toEqual([
      91,
    ]);
  });

  test("a rebuild that was broken off is due after a restart", () => {
    const session = new Session({ ...KNOWN, reset: "expired" }, "laptop");
    expect(session.effects()).toMatchObject({ rebuild: true, events: [{ type: "reset" }] });
    session.opened("token");
    const done = played(session, welcome("90"), page(message(91)));
    expect([session.state, done.change, done.rebuild]).toEqual(["reset", nothing(), false]);
  });
});

describe("an app that is slow", () => {
  test("pages are paid for when the app has room", () => {
    const session = online();
    session.unread = LOW_UNREAD_EVENTS;
    expect(played(session, page(message(1))).frames).toEqual([]);
    session.taken(LOW_UNREAD_EVENTS + 1);
    expect(session.effects().frames).toEqual([]);
    session.taken(LOW_UNREAD_EVENTS);
    expect(session.effects().frames).toEqual([{ type: "credit", pages: 1 }]);
  });

  test("a device with too much unread lets pushes go and comes again", () => {
    const session = online();
    session.unread = MAX_UNREAD_EVENTS - 2;
    const done = played(session, ...[1, 2, 3, 4].map((seq) => push(message(seq))));
    expect(arrived(done)).toEqual([1, 2]);
    expect(done.change.cursor).toEqual({ base: "base", pos: "2" });
    session.taken(LOW_UNREAD_EVENTS);
    expect(session.effects().reconnect).toBe(true);
    expect(played(session, push(message(5))).change).toEqual(nothing());
    session.closed(1000, "");
    session.opened("token");
    expect(session.effects().events).toEqual([]);
    expect(arrived(played(session, welcome("2"), page(message(3))))).toEqual([3]);
  });
});
