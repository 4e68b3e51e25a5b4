import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MAX_GZIPPED_BYTES, sizes } from "../scripts/size.mjs";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

test("the SDK stays small, and the README says how small", async () => {
  const { gzipped } = await sizes();
  expect(gzipped).toBeLessThanOrEqual(MAX_GZIPPED_BYTES);
  const [, said = ""] = /([\d.]+) KB gzipped/.exec(README) ?? [];
  expect(Math.abs(gzipped / 1000 - Number(said))).toBeLessThan(0.5);
});
