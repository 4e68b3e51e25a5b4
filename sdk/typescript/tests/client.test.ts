/** Devices end to end: the SDK against a real server, over real sockets and kills. */

import "fake-indexeddb/auto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Event } from "../src/events.js";
import { type Client, type ConnectOptions, connect, MemoryTables } from "../src/index.js";
import type { Message } from "../src/protocol.js";
import type { TokenSource } from "../src/tokens.js";
import { seqs } from "./frames.js";
import { TestServer } from "./server.js";

const server = new TestServer();
const open: Client[] = [];
let names = 0;

beforeAll(async () => {
  await server.start();
});

afterAll(() => server.remove());

afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
});

interface Options extends Partial<ConnectOptions> {
  readonly at?: TestServer;
  readonly token?: TokenSource;
}

async function device(user: string, { at = server, token, ...more }: Options = {}) {
  const backoff = { baseMs: 10, maxMs: 50 };
  const client = await connect(at.url, token ?? at.token(user), {
    device: "laptop",
    backoff,
    WebSocket,
    ...more,
  });
  open.push(client);
  return client;
}

/** A user whom no other test knows. */
const someone = (name: string) => `${name}-${++names}`;

async function next(client: Client, wanted: (event: Event) => boolean): Promise<Event> {
  for await (const event of client.events()) if (wanted(event)) return event;
  throw new Error("the device has ended");
}

const of = (type: Event["type"]) => (event: Event) => event.type === type;

/** The next texts from others. */
async function received(client: Client, count: number): Promise<Message[]> {
  const found: Message[] = [];
  while (found.length < count) {
    const event = await next(client, of("received"));
    if (event.type === "received" && event.message.kind === "text") found.push(event.message);
  }
  return found;
}

/** What was said, without what the server has written. */
const texts = (messages: readonly Message[]) =>
  messages.filter(({ kind }) => kind === "text").map(({ body }) => body.text);
const numbered = (count: number) => Array.from({ length: count }, (_, at) => `no. ${at}`);

describe("two users", () => {
  test("chat, and both have all of it", async () => {
    const [alice, bob] = [await device(someone("alice")), await device(someone("bob"))];
    const there = alice.direct(bob.user);
    expect(bob.direct(alice.user)).toBe(there);
    await bob.caughtUp();
    const first = await alice.send(there, "hello 😀");
    const [heard] = await received(bob, 1);
    expect(heard).toMatchObject({ ...first, from: alice.user, body: { text: "hello 😀" } });
    await bob.send(there, { text: "hi", mood: 1 }, { reply: first.seq, ack: "synced" });
    await received(alice, 1);
    for (const one of [alice, bob]) {
      expect(texts(await one.kept(there))).toEqual(["hi", "hello 😀"]);
      const { messages, hasMore } = await one.history(there);
      expect([texts(messages), hasMore]).toEqual([["hi", "hello 😀"], false]);
    }
  });

  test("change what they have said, and see who has read it", async () => {
    const [alice, bob] = [await device(someone("alice")), await device(someone("bob"))];
    const there = alice.direct(bob.user);
    await bob.caughtUp();
    const [one, two] = [await alice.send(there, "first"), await alice.send(there, "second")];
    await bob.react(there, one.seq, "👍");
    await alice.edit(there, one.seq, "better");
    await alice.recall(there, two.seq);
    await bob.markRead(there, two.seq);
    for (const client of [alice, bob]) {
      const kept = async (at: number) => (await client.kept(there, { before: at + 1 }))[0];
      await expect.poll(async () => (await kept(two.seq))?.kind).toBe("");
      const first = await kept(one.seq);
      expect(first).toMatchObject({ body: { text: "better" }, reactions: { "👍": [bob.user] } });
    }
    expect(await bob.readMark(there)).toBe(two.seq);
    expect(await alice.readBy(there, one.seq)).toEqual([bob.user]);
  });

  test("see each other come and type", async () => {
    const [alice, bobs] = [await device(someone("alice")), someone("bob")];
    await alice.send(alice.direct(bobs), "are you there?");
    alice.watch([bobs]);
    const presence = of("presence");
    expect(await next(alice, presence)).toMatchObject({ user: bobs, online: false });
    const bob = await device(bobs);
    expect(await next(alice, presence)).toMatchObject({ user: bobs, online: true });
    await bob.caughtUp();
    bob.typing(bob.direct(alice.user));
    expect(await next(alice, of("typing"))).toMatchObject({ user: bobs });
  });
});

test("a group has members with roles, and keeps others out", async () => {
  const [alice, bob] = [await device(someone("alice")), await device(someone("bob"))];
  const group = someone("team");
  await alice.create(group, [bob.user], { title: "Team" });
  await alice.role(group, bob.user, "admin");
  await expect(alice.send(someone("team"), "hello?")).rejects.toMatchObject({
    code: "unknown_conversation",
  });
  expect(await next(alice, of("refused"))).toMatchObject({ error: { kind: "not_found" } });
  const recalled = alice.send(group, {}, { kind: "recalled" });
  await expect(recalled).rejects.toMatchObject({ code: "bad_kind", kind: "invalid" });
  expect(await alice.members(group)).toEqual([alice.user, bob.user]);
  expect((await bob.roster(group)).map(({ role }) => role)).toEqual(["owner", "admin"]);
  const states = await bob.conversations();
  expect(states).toMatchObject([{ conversation: group, title: "Team", role: "admin" }]);
  await bob.leave(group);
  expect(await alice.members(group)).toEqual([alice.user]);
  await expect(bob.send(group, "still here?")).rejects.toMatchObject({ code: "not_member" });
});

test("who has the token of an invite comes into a group", async () => {
  const [alice, bob] = [await device(someone("alice")), await device(someone("bob"))];
  const group = someone("team");
  await alice.create(group);
  const { link, token } = await alice.invite(group, { role: "admin", uses: 1 });
  await expect(bob.joinBy(group, "a guess")).rejects.toMatchObject({ code: "unknown_link" });
  await bob.joinBy(group, token);
  expect(await bob.roster(group)).toEqual([
    { name: alice.user, role: "owner", muted: 0 },
    { name: bob.user, role: "admin", muted: 0 },
  ]);
  expect(await bob.links(group)).toEqual([{ link, role: "admin", uses: 1, used: 1, expires: 0 }]);
  await bob.uninvite(group, link);
  expect(await alice.links(group)).toEqual([]);
});

test("files are uploaded, and seen by those who may", async () => {
  const [alice, bob, eve] = [
    await device(someone("alice")),
    await device(someone("bob")),
    await device(someone("eve")),
  ];
  const there = alice.direct(bob.user);
  const media = await alice.upload(new Blob(["a,b\n1,2\n"]), "text/csv");
  await alice.send(there, { media: media.media, name: "t.csv" }, { kind: "file" });
  expect(await (await bob.download(media.media)).text()).toBe("a,b\n1,2\n");
  await expect(eve.download(media.media)).rejects.toMatchObject({ code: "unknown_media" });
});

test("messages are found by their words, as soon as they are acked", async () => {
  const alice = await device(someone("alice"));
  const notes = alice.direct(alice.user);
  await alice.send(notes, "the quick brown fox");
  const { seq } = await alice.send(notes, "敏捷的棕色狐狸");
  const found = await alice.search("棕色", { wait_for: seq });
  expect(found.hits.map((hit) => [hit.message.seq, hit.snippet])).toEqual([
    [seq, "敏捷的棕色狐狸"],
  ]);
  expect(found.watermark).toBeGreaterThanOrEqual(seq);
});

describe("a device that was away", () => {
  test("catches up on many messages, each once and in order", async () => {
    const store = new MemoryTables();
    const [alice, bobs] = [await device(someone("alice")), someone("bob")];
    await (await device(bobs, { store })).close();
    const there = alice.direct(bobs);
    const all = numbered(3000);
    const posted = all.map((text) => alice.post(there, text));
    await alice.flush();
    const sent = await Promise.all(posted);
    const bob = await device(bobs, { store });
    const heard = await received(bob, all.length);
    expect(texts(heard)).toEqual(all);
    expect(seqs(heard)).toEqual(sent.map(({ seq }) => seq));
    await bob.caughtUp();
    await alice.send(there, "last");
    expect(texts(await received(bob, 1))).toEqual(["last"]);
    expect(texts((await bob.kept(there, { limit: 4000 })).reverse())).toEqual([...all, "last"]);
    const scrolled: Message[] = [];
    for await (const one of bob.scroll(there, { after: 0 })) scrolled.push(one);
    expect(texts(scrolled)).toEqual([...all, "last"]);
  });

  test("keeps what it wanted to say, in IndexedDB, over reloads and a dead server", async () => {
    const own = await new TestServer().start();
    try {
      const options = { at: own, store: someone("database") };
      const alice = await device("alice", options);
      await own.kill();
      const said = numbered(20);
      for (const text of said) alice.post("direct:alice:bob", text);
      await alice.close();
      const reloaded = await device("alice", options);
      expect(reloaded.queued).toBe(20);
      await own.start();
      await reloaded.flush();
      expect(texts((await reloaded.kept("direct:alice:bob")).reverse())).toEqual(said);
      const bob = await device("bob", { at: own });
      const { messages } = await bob.history("direct:alice:bob", { after: 0 });
      expect(texts(messages)).toEqual(said);
    } finally {
      await own.remove();
    }
  });
});

test("kills of the server lose nothing and double nothing", async () => {
  const own = await new TestServer().start();
  try {
    const [alice, bob] = [await device("alice", { at: own }), await device("bob", { at: own })];
    await bob.caughtUp();
    const all = numbered(300);
    const heard = received(bob, all.length);
    const posted = [];
    for (const [at, text] of all.entries()) {
      posted.push(alice.post("direct:alice:bob", text));
      if (at % 150 === 50) {
        await posted[at - 25];
        await own.restart();
      }
    }
    const sent = await Promise.all(posted);
    const messages = await heard;
    expect(texts(messages)).toEqual(all);
    expect(seqs(messages)).toEqual(sent.map(({ seq }) => seq));
    const { messages: stored } = await bob.history("direct:alice:bob", { after: 0, limit: 1000 });
    expect(texts(stored)).toEqual(all);
  } finally {
    await own.remove();
  }
});

test("another log is another world: the device forgets, and is rebuilt", async () => {
  const [before, after] = [new TestServer(), new TestServer()];
  try {
    await before.start();
    const store = new MemoryTables();
    const alice = await device("alice", { at: before, store });
    await alice.send("self:alice", "of the old world");
    await before.kill();
    await alice.close();
    await after.start();
    const other = await device("alice", { at: after, device: "phone" });
    await other.send("self:alice", "of the new world");
    const again = await device("alice", { at: after, store });
    expect(await next(again, of("reset"))).toEqual({ type: "reset", reason: "other_log" });
    expect(texts(await received(again, 1))).toEqual(["of the new world"]);
    await again.caughtUp();
    expect(texts(await again.kept("self:alice"))).toEqual(["of the new world"]);
  } finally {
    await before.remove();
    await after.remove();
  }
});

describe("a device", () => {
  test("is not made with what cannot be right", async () => {
    const token = server.token(someone("alice"));
    const options = { device: "laptop", WebSocket, timeoutMs: 10_000 };
    await expect(connect("nowhere", token, options)).rejects.toMatchObject({ code: "bad_config" });
    const bad = { ...options, device: "my laptop" };
    await expect(connect(server.url, token, bad)).rejects.toMatchObject({ code: "bad_name" });
    await expect(connect(server.url, "no token", options)).rejects.toMatchObject({
      code: "bad_token",
    });
    const nobody = connect("http://127.0.0.1:1", token, { ...options, timeoutMs: 50 });
    await expect(nobody).rejects.toMatchObject({ code: "not_connected", retry: true });
  });

  test("asks for another token when the first is too old", async () => {
    const user = someone("alice");
    const tokens = [server.token(user, -3600), server.token(user)];
    const alice = await device(user, { token: () => tokens.shift() ?? "" });
    await alice.send(alice.direct(user), "note");
    expect(tokens).toEqual([]);
  });

  test("is one of several, and can be logged out by another one", async () => {
    const user = someone("alice");
    const phone = await device(user, { device: "phone", kind: "phone" });
    const laptop = await device(user);
    await Promise.all([phone, laptop].map((one) => one.caughtUp()));
    const all = await laptop.devices();
    expect(all.map(({ device, kind }) => [device, kind])).toEqual([
      ["laptop", ""],
      ["phone", "phone"],
    ]);
    expect((await laptop.logOut("phone")).map(({ device }) => device)).toEqual(["laptop"]);
    await expect(phone.send(phone.direct(user), "still here?")).rejects.toMatchObject({
      code: "logged_out",
    });
  });

  test("says only what JSON can say", async () => {
    const alice = await device(someone("alice"));
    const there = alice.direct(alice.user);
    const body = { when: new Date(0), nothing: undefined, call: () => 1, list: [1, undefined] };
    const { seq } = await alice.send(there, body);
    const plain = { when: "1970-01-01T00:00:00.000Z", list: [1, null] };
    expect((await alice.kept(there))[0]?.body).toEqual(plain);
    expect((await alice.history(there, { after: seq - 1 })).messages[0]?.body).toEqual(plain);
    expect(() => alice.post(there, { huge: 1n })).toThrow(TypeError);
    await alice.send(there, "and goes on");
  });
});
