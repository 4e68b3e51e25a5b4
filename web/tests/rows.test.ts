import type { Message } from "@timewire/client";
import { expect, test } from "vitest";
import { rowsOf } from "../src/views/rows";

const NOON = new Date(2026, 5, 15, 12).getTime();
const MINUTE = 60_000;

function message(seq: number, from: string, time: number, kind = "text"): Message {
  const said = { conversation: "team", id: `${seq}`, body: {}, sent: 0, reply: 0, mentions: [] };
  const rest = { forward: null, expires: 0, version: 0, edited: 0, edits: [] };
  const more = { reactions: {}, damaged: false };
  return { seq, from, time, kind, ...said, ...rest, ...more };
}

test("what changes others is no row", () => {
  const kinds = ["text", "edited", "reaction", "recalled", "read", "pinned", "members", ""];
  const all = kinds.map((kind, at) => message(at + 1, "bob", NOON, kind));
  expect(rowsOf(all, [], "alice").map(({ key }) => key)).toEqual([1, 7, 8]);
});

test("a name is told once for what is said in one go", () => {
  const all = [
    message(1, "bob", NOON),
    message(2, "bob", NOON + MINUTE),
    message(3, "carol", NOON + 2 * MINUTE),
    message(4, "carol", NOON + 20 * MINUTE),
  ];
  expect(rowsOf(all, [], "alice").map(({ head }) => head)).toEqual([true, false, true, true]);
});

test("each day begins with its date", () => {
  const midnight = new Date(2026, 5, 16).getTime();
  const all = [
    message(1, "bob", midnight - 1),
    message(2, "bob", midnight),
    message(3, "bob", midnight + 1),
  ];
  expect(rowsOf(all, [], "alice").map(({ day }) => day)).toEqual([midnight - 1, midnight, 0]);
});

test("what is on its way comes last", () => {
  const said = { conversation: "team", kind: "text", body: {}, reply: 0, mentions: [] };
  const waiting = { id: "x", time: NOON, ...said };
  const rows = rowsOf([message(1, "alice", NOON)], [waiting], "alice");
  expect(rows.map(({ key, head }) => [key, head])).toEqual([
    [1, true],
    ["x", false],
  ]);
});
