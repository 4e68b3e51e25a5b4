import { expect, test } from "vitest";
import { begun, completed, offered } from "../src/model/mention";
import { mentions } from "../src/model/text";

test("a name is begun with @ at the beginning of a word, up to the caret", () => {
  expect(begun("@", 1)).toBe("");
  expect(begun("hello @bo", 9)).toBe("bo");
  expect(begun("hello @bob", 8)).toBe("b");
  expect(begun("(@bo", 4)).toBe("bo");
  expect(begun("你好（@小", 5)).toBe("小");
  expect(begun("bob@exa", 7)).toBeUndefined();
  expect(begun("@bob and", 8)).toBeUndefined();
  expect(begun("plain", 5)).toBeUndefined();
});

test("names that go on as it was begun come first", () => {
  const names = ["alice", "bob", "carol", "Roland", "jacob", "all"];
  expect(offered("", names)).toEqual(names);
  expect(offered("RO", names)).toEqual(["Roland", "carol"]);
  expect(offered("ob", names)).toEqual(["bob", "jacob"]);
  expect(offered("zz", names)).toEqual([]);
  const many = Array.from({ length: 20 }, (_, at) => `user${at}`);
  expect(offered("user", many)).toHaveLength(8);
});

test("only names that would be found in the text again are offered", () => {
  const names = ["dan.smith", "two words", "a/b", "end."];
  expect(offered("", names)).toEqual(["dan.smith"]);
  expect(mentions("hi @dan.smith. Well @end.", names)).toEqual(["dan.smith"]);
});

test("a chosen name stands in place of what was begun", () => {
  expect(completed("hello @b", 8, "bob")).toEqual(["hello @bob ", 11]);
  expect(completed("hello @b and more", 8, "bob")).toEqual(["hello @bob and more", 11]);
  expect(completed("@, well", 1, "bob")).toEqual(["@bob , well", 5]);
});
