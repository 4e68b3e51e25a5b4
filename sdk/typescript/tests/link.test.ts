import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { ABNORMAL, dialer, type Socket } from "../src/link.js";
import type { ServerFrame } from "../src/protocol.js";
import { live } from "./frames.js";

let server: WebSocketServer;
let heard: ServerFrame[];

const address = () => `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;

beforeEach(async () => {
  heard = [];
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((resolve) => server.once("listening", resolve));
});

afterEach(() => {
  vi.useRealTimers();
  for (const client of server.clients) client.terminate();
  server.close();
});

/** A link, and the socket at its other end. */
async function linked() {
  const accepted = new Promise<WebSocket>((resolve) => server.once("connection", resolve));
  const link = await dialer(address(), WebSocket)((frame) => heard.push(frame));
  return { link, peer: await accepted };
}

const said = (peer: WebSocket) =>
  new Promise((resolve) => peer.once("message", (data) => resolve(JSON.parse(String(data)))));

test("frames go both ways, and the end says why", async () => {
  const { link, peer } = await linked();
  expect(peer.protocol).toBe("timewire.json.v1");
  const first = said(peer);
  link.send({ type: "ping" });
  expect(await first).toEqual({ type: "ping" });
  peer.send('{"type": "live", "pos": "3"}');
  peer.send('{"type": "of the future"}');
  peer.close(4200, "replaced");
  expect(await link.ended).toEqual({ code: 4200, reason: "replaced" });
  expect(heard).toEqual([live("3")]);
  link.send({ type: "ping" });
});

test("what cannot be read ends a link", async () => {
  const { link, peer } = await linked();
  peer.send("{");
  const { code, reason } = await link.ended;
  expect(code).toBe(ABNORMAL);
  expect(reason).toContain("cannot be read");
});

test("a connection that breaks ends a link", async () => {
  const { link, peer } = await linked();
  peer.terminate();
  expect((await link.ended).code).toBe(ABNORMAL);
});

test("it ends from this side, also when the other one does not answer", async () => {
  const { link, peer } = await linked();
  peer.pause();
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  link.hangUp();
  vi.advanceTimersByTime(2_000);
  expect((await link.ended).reason).toBe("closed from here");
});

test("a server that falls silent is given up; one that answers is not", async () => {
  vi.useFakeTimers({ toFake: ["setInterval"] });
  const { link, peer } = await linked();
  peer.send('{"type": "pong"}');
  for (let beats = 1; beats <= 3; beats++) {
    await expect.poll(() => heard).toHaveLength(beats);
    const asked = said(peer);
    vi.advanceTimersByTime(20_000);
    expect(await asked).toEqual({ type: "ping" });
    if (beats < 3) peer.send('{"type": "pong"}');
  }
  vi.advanceTimersByTime(20_000);
  expect(await link.ended).toEqual({ code: ABNORMAL, reason: "the server fell silent" });
});

test("a doubted connection has to answer soon", async () => {
  const { link, peer } = await linked();
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const asked = said(peer);
  link.probe();
  expect(await asked).toEqual({ type: "ping" });
  vi.advanceTimersByTime(5_000);
  expect((await link.ended).reason).toBe("the server fell silent");
});

test("who does not answer is not connected", async () => {
  const nobody = dialer("ws://127.0.0.1:1", WebSocket)(() => undefined);
  await expect(nobody).rejects.toMatchObject({ code: "not_connected", retry: true });
  class Mute implements Socket {
    readonly readyState = 0;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    send(): void {}
    close(): void {}
  }
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const silent = dialer("ws://example.com", Mute)(() => undefined);
  vi.advanceTimersByTime(15_000);
  await expect(silent).rejects.toMatchObject({ code: "not_connected" });
  class Forbidden extends Mute {
    constructor() {
      super();
      throw new Error("not from this page");
    }
  }
  const refused = dialer("ws://example.com", Forbidden)(() => undefined);
  await expect(refused).rejects.toMatchObject({ fields: { reason: "not from this page" } });
});
