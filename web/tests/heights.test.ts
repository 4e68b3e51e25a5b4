import { expect, test } from "vitest";
import { Heights } from "../src/views/heights";

const keys = (count: number) => Array.from({ length: count }, (_, at) => `row ${at}`);

test("rows that were never measured are as high as guessed, then as the others are", () => {
  const heights = new Heights(50);
  heights.arrange(keys(10));
  expect(heights.total).toBe(500);
  heights.measure("row 0", 20);
  heights.measure("row 1", 40);
  heights.arrange(keys(10));
  expect(heights.top(2)).toBe(60);
  expect(heights.total).toBe(60 + 8 * 30);
});

test("a measure is news once", () => {
  const heights = new Heights(50);
  expect(heights.measure("a", 20)).toBe(true);
  expect(heights.measure("a", 20.2)).toBe(false);
  expect(heights.measure("a", 30)).toBe(true);
});

test("every height is covered by the row that stands there", () => {
  const heights = new Heights(10);
  const all = keys(100);
  for (const [at, key] of all.entries()) heights.measure(key, 1 + (at % 7));
  heights.arrange(all);
  for (let y = 0; y < heights.total; y += 0.5) {
    const at = heights.at(y);
    expect(heights.top(at)).toBeLessThanOrEqual(y);
    expect(heights.top(at + 1)).toBeGreaterThan(y);
  }
  expect(heights.at(-5)).toBe(0);
  expect(heights.at(1e9)).toBe(99);
});

test("rows are found by their keys, also after others came before them", () => {
  const heights = new Heights(10);
  heights.arrange(["b", "c"]);
  expect(heights.place("c")).toBe(1);
  heights.arrange(["a", "b", "c"]);
  expect(heights.place("c")).toBe(2);
  expect(heights.place("gone")).toBeUndefined();
});

test("an empty list has no height", () => {
  const heights = new Heights(10);
  heights.arrange([]);
  expect([heights.total, heights.at(5), heights.count]).toEqual([0, 0, 0]);
});
