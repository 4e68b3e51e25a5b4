/** What the README shows works as it is written, from its first line to its last. */

import "fake-indexeddb/auto";
import { readFileSync } from "node:fs";
import { transform } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import * as client from "../src/index.js";
import { TestServer } from "./server.js";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const IMPORT = /^import .*;$\n/gm;

const server = new TestServer();

beforeAll(async () => {
  await server.start();
});

afterAll(() => server.remove());

test("the README's code runs", async () => {
  const blocks = [...README.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);
  expect(blocks.length).toBeGreaterThanOrEqual(7);
  const source = blocks.join("").replaceAll(IMPORT, "");
  const { code } = await transform(`async function main() {\n${source}}`, { loader: "ts" });
  const local = code.replaceAll("https://chat.example.com", server.url);
  const lines: string[] = [];
  const given = {
    ...client,
    WebSocket,
    connect: (url: string, token: client.TokenSource, options: client.ConnectOptions) =>
      client.connect(url, token, { WebSocket, ...options }),
    fetch: (path: string) => {
      expect(path).toBe("/chat/token");
      return Promise.resolve(new Response(server.token("alice")));
    },
    console: { log: (...words: unknown[]) => lines.push(words.join(" ")) },
  };
  const run = new Function(...Object.keys(given), `${local}\nreturn main()`);
  const done = run(...Object.values(given)) as Promise<void>;
  const bob = await client.connect(server.url, server.token("bob"), { device: "phone", WebSocket });
  await expect.poll(() => lines[0]).toBe("stored as 2");
  await bob.send("direct:alice:bob", "hi");
  await done;
  await bob.close();
  expect(lines.slice(0, 2)).toEqual(["stored as 2", "bob says hi"]);
  expect(lines.slice(-2)).toEqual(["8 1 3 0 1", "unknown_conversation not_found"]);
});
