/** The rules for names, ids and kinds, and what the names of direct conversations say. */

import { error } from "./errors.js";
import { CONTROL_KINDS } from "./protocol.js";

export const SELF = "self:";
const MAX_NAME_BYTES = 128;
const MAX_ID_BYTES = 128;

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is refused
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is refused
const NOT_IN_NAMES = /[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff:/]/u;
const KIND = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/** How many bytes a text has in UTF-8. */
export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** An id that nobody else has. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** A user's, device's or group's name, as it was given. Throws `bad_name`. */
export function checkName(name: string): string {
  const wrong = NOT_IN_NAMES.test(name) || bytesOf(name) > MAX_NAME_BYTES;
  if (wrong || name === "" || name === "." || name === "..") {
    throw error("bad_name", { name: name.slice(0, 40) });
  }
  return name;
}

/** A message's id, as it was given. Throws `bad_id`. */
export function checkId(id: string): string {
  if (!id || CONTROL.test(id) || bytesOf(id) > MAX_ID_BYTES) {
    throw error("bad_id", { id: id.slice(0, 40) });
  }
  return id;
}

/** A kind that clients may send, as it was given. Throws `bad_kind`. */
export function checkKind(kind: string): string {
  if (!KIND.test(kind) || isControl(kind)) throw error("bad_kind", { kind: kind.slice(0, 40) });
  return kind;
}

/** Whether only the server writes messages of this kind. */
export function isControl(kind: string): boolean {
  return CONTROL_KINDS.split(" ").includes(kind);
}

/** The name of the direct conversation of two users, whoever asks; with oneself, one's own. */
export function direct(one: string, other: string): string {
  if (one === other) return SELF + checkName(one);
  const [first, second] = [checkName(one), checkName(other)].sort(byCodePoint);
  return `direct:${first}:${second}`;
}

/** The order of the server, which is not that of UTF-16. */
export function byCodePoint(one: string, other: string): number {
  const [a, b] = [Array.from(one), Array.from(other)];
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const difference = (a[at]?.codePointAt(0) ?? 0) - (b[at]?.codePointAt(0) ?? 0);
    if (difference) return difference;
  }
  return a.length - b.length;
}
