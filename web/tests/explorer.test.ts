import { describe, expect, it } from "vitest";
import type { Lane, Mode } from "../src/explorer/server";
import { epochs, line } from "../src/explorer/shapes";

function lane(...changes: [number, Mode][]): Lane {
  const epochs = changes.map(([since, mode]) => ({ since, mode }));
  return { conversation: "team", kind: "group", members: 2, epochs };
}

describe("the modes of a conversation in a stretch", () => {
  it("is write mode where nothing else was said", () => {
    expect(epochs(lane(), 5, 20)).toEqual([{ from: 5, to: 20, mode: "write" }]);
  });

  it("begins with the message after the change", () => {
    expect(epochs(lane([9, "read"], [14, "write"]), 5, 20)).toEqual([
      { from: 5, to: 9, mode: "write" },
      { from: 10, to: 14, mode: "read" },
      { from: 15, to: 20, mode: "write" },
    ]);
  });

  it("knows what held before the stretch, and nothing after it", () => {
    expect(epochs(lane([2, "push"], [30, "read"]), 5, 20)).toEqual([
      { from: 5, to: 20, mode: "push" },
    ]);
  });
});

describe("a line through values", () => {
  it("is nothing without values", () => {
    expect(line([], 100, 50)).toBe("");
    expect(line([null, null], 100, 50)).toBe("");
  });

  it("leaves out what is not known, and keeps its place", () => {
    const [first, last] = line([0, null, 10], 119, 50).slice(1).split("L");
    expect(first).toBe("0.0 48.0");
    expect(last).toBe("2.0 2.0");
  });
});
