/** Sockets: one WebSocket as a stream of frames. */

import { error, reasonOf } from "./errors.js";
import { type ClientFrame, decode, type ServerFrame, SUBPROTOCOL } from "./protocol.js";

const PATH = "/v1/ws";

/** WebSocket's code for a connection that broke without a close frame. */
export const ABNORMAL = 1006;

const CONNECT_MS = 15_000;
const CLOSE_MS = 2_000;

/** A ping goes out so often; nothing heard between two of them means a dead connection. */
const PING_MS = 20_000;

/** How soon something has to be heard when a page wakes up and doubts its connection. */
const PROBE_MS = 5_000;

/** Why a connection ended. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

/** An open connection. */
export interface Link {
  /** Have a frame sent, after those before it. On a link that has ended it does nothing. */
  send(frame: ClientFrame): void;
  /** Begin to end the link from this side. */
  hangUp(): void;
  /** Make sure soon that the other side is there; else the link ends. */
  probe(): void;
  readonly ended: Promise<Ending>;
}

/** Opens a connection; frames are handed to `receive` as they come. Throws `not_connected`. */
export type Dial = (receive: (frame: ServerFrame) => void) => Promise<Link>;

/** What is used of a WebSocket: that of browsers and of Node 22, and of the package `ws`. */
export interface Socket {
  readonly readyState: number;
  send(data: string): void;
  close(code?: number): void;
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
}

export type SocketClass = new (url: string, protocols: string[]) => Socket;

/** The address of the WebSocket of the server at an http(s) or ws(s) URL. Throws `bad_config`. */
export function socketUrl(url: string): string {
  const found = parsed(url);
  if (!found) {
    throw error("bad_config", { url }, "a server's URL looks like https://chat.example.com");
  }
  const path = found.pathname.replace(/\/+$/, "");
  found.pathname = path.endsWith(PATH) ? path : path + PATH;
  found.search = found.hash = "";
  return found.href;
}

function parsed(url: string): URL | undefined {
  try {
    const found = new URL(url, globalThis.location?.href);
    found.protocol = found.protocol.replace("http", "ws");
    return found.protocol.startsWith("ws") ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Where a server's HTTP is, from the URL that a device connects to. */
export function httpUrl(url: string): string {
  return socketUrl(url).replace(/^ws/, "http").slice(0, -PATH.length);
}

/** Opens WebSockets at one address. */
export function dialer(url: string, Class: SocketClass): Dial {
  return (receive) =>
    new Promise((resolve, reject) => {
      const failed = (reason: string) => reject(error("not_connected", { reason }));
      let socket: Socket;
      try {
        socket = new Class(url, [SUBPROTOCOL]);
      } catch (failure) {
        return failed(reasonOf(failure));
      }
      const timer = setTimeout(() => {
        socket.onclose = null;
        socket.close();
        failed(`no answer within ${CONNECT_MS / 1000} s`);
      }, CONNECT_MS);
      let reason = "";
      socket.onerror = (event: { message?: string }) => {
        reason = event.message ?? "";
      };
      socket.onclose = () => {
        clearTimeout(timer);
        failed(reason || "no connection could be made");
      };
      socket.onopen = () => {
        clearTimeout(timer);
        resolve(new SocketLink(socket, receive));
      };
    });
}

class SocketLink implements Link {
  readonly ended: Promise<Ending>;
  #end: (code: number, reason: string) => void = () => {};
  #heard = false;
  readonly #timers: ReturnType<typeof setTimeout>[] = [];

  constructor(
    private readonly socket: Socket,
    receive: (frame: ServerFrame) => void,
  ) {
    this.ended = new Promise((resolve) => {
      this.#end = (code, reason) => {
        this.#timers.forEach(clearTimeout);
        socket.onmessage = socket.onclose = null;
        resolve({ code, reason });
      };
    });
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#heard = true;
      let frame: ServerFrame | null;
      try {
        frame = decode(data as string);
      } catch (failure) {
        return this.#cut(`the server said what cannot be read: ${reasonOf(failure)}`);
      }
      if (frame) receive(frame);
    };
    socket.onclose = ({ code, reason }: Ending) => {
      this.#end(code || ABNORMAL, reason || `closed with ${code || ABNORMAL}`);
    };
    this.#timers.push(setInterval(() => this.#beat(), PING_MS));
  }

  send(frame: ClientFrame): void {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(frame));
  }

  hangUp(): void {
    this.socket.close(1000);
    this.#timers.push(setTimeout(() => this.#end(ABNORMAL, "closed from here"), CLOSE_MS));
  }

  probe(): void {
    this.#heard = false;
    this.send({ type: "ping" });
    this.#timers.push(setTimeout(() => this.#check(), PROBE_MS));
  }

  #beat(): void {
    if (this.#check()) {
      this.#heard = false;
      this.send({ type: "ping" });
    }
  }

  #check(): boolean {
    if (!this.#heard) this.#cut("the server fell silent");
    return this.#heard;
  }

  #cut(reason: string): void {
    this.#end(ABNORMAL, reason);
    this.socket.close();
  }
}
