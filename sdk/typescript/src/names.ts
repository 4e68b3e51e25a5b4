/** The rules for names and ids, and what the names of direct conversations say. */

import { error } from "./errors.js";

export const SELF = "self:";
const MAX_NAME_BYTES = 128;
const MAX_ID_BYTES = 128;

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is refused
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is refused
const NOT_IN_NAMES = /[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff:/]/u;

/** A text in UTF-8. */
function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** How many bytes a text has in UTF-8. */
export function bytesOf(text: string): number {
  return utf8(text).length;
}

/** Bytes in hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An id that nobody else has. */
export function newId(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

/** The name of the invite link that has this token: nobody can tell the token from it. */
export async function linkOf(token: string): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(token) as BufferSource)));
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

/** The name of the direct conversation of two users, whoever asks; with oneself, one's own. */
export function direct(one: string, other: string): string {
  if (one === other) return SELF + checkName(one);
  const [first, second] = [checkName(one), checkName(other)].sort(byCodePoint);
  return `direct:${first}:${second}`;
}

/** The order of the server, by code points; that of UTF-16 is another one. */
export function byCodePoint(one: string, other: string): number {
  const [a = "", b = ""] = [one, other].map((text) => hex(utf8(text)));
  return a < b ? -1 : Number(a > b);
}
