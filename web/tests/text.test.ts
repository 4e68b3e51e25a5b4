import { expect, test } from "vitest";
import { marked, mentions, pieces, safeHref, sizeOf } from "../src/model/text";

const links = (text: string) => pieces(text).flatMap(({ href }) => href ?? []);

test("the pieces of a text are the text", () => {
  for (const text of [
    "",
    "plain",
    "a https://x.example/y, b",
    "@bob: see mailto:a@b.c!",
    "网址https://例.中国/。",
  ]) {
    expect(
      pieces(text)
        .map((piece) => piece.text)
        .join(""),
    ).toBe(text);
  }
});

test("links end where the sentence goes on", () => {
  expect(links("see https://x.example/a.")).toEqual(["https://x.example/a"]);
  expect(links("(https://x.example/a)")).toEqual(["https://x.example/a"]);
  expect(links("https://x.example/a(b) c")).toEqual(["https://x.example/a(b)"]);
  expect(links("看 https://x.example/a。好")).not.toEqual([]);
  expect(links("mailto:bob@x.example!")).toEqual(["mailto:bob@x.example"]);
});

test("only harmless kinds of links lead somewhere", () => {
  for (const bad of [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://x.example/1",
    "//x.example",
    "/path",
  ]) {
    expect(safeHref(bad)).toBeUndefined();
    expect(links(`see ${bad}`)).toEqual([]);
  }
  expect(safeHref("HTTPS://X.example")).toBe("https://x.example/");
});

test("markup around a link is not part of it", () => {
  expect(links('<a href="https://x.example/a">')).toEqual(["https://x.example/a"]);
});

test("mentions name members, or all", () => {
  expect(mentions("@bob and @mallory, hi @all", ["alice", "bob"])).toEqual(["*", "bob"]);
  expect(mentions("bob@x.example", ["x", "bob"])).toEqual([]);
  expect(mentions("(@bob)", ["bob"])).toEqual(["bob"]);
});

test("matches count code points", () => {
  expect(marked("😀 a needle here", [[4, 10]])).toEqual([
    { text: "😀 a ", hit: false },
    { text: "needle", hit: true },
    { text: " here", hit: false },
  ]);
  expect(
    marked("ab", [
      [0, 1],
      [1, 2],
    ]).map(({ text }) => text),
  ).toEqual(["a", "b"]);
  expect(marked("", [])).toEqual([]);
});

test("sizes are told shortly", () => {
  expect([0, 999, 1000, 1_500_000, 3e12].map(sizeOf)).toEqual([
    "0 B",
    "999 B",
    "1.0 KB",
    "1.5 MB",
    "3000 GB",
  ]);
});
