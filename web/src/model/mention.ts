/** Names that are offered while somebody writes `@`. */

import { pieces } from "./text";

/** So many names are offered at once. */
const MAX_OFFERED = 8;
const BEGUN = /(?<![^\s(（])@([^\s@:/,!?()，。！？（）]*)$/u;

/** What of a name is written before the caret; undefined when no name is being written there. */
export function begun(text: string, caret: number): string | undefined {
  return BEGUN.exec(text.slice(0, caret))?.[1];
}

/** Names that go on as it was begun, then those that have it in the middle. */
export function offered(beginning: string, names: readonly string[]): string[] {
  const wanted = beginning.toLowerCase();
  const place = (name: string) => name.toLowerCase().indexOf(wanted);
  const found = names.filter((name) => place(name) >= 0 && isSayable(name));
  const [first, second] = [0, 1].map((later) =>
    found.filter((name) => Number(place(name) > 0) === later),
  ) as [string[], string[]];
  return [...first, ...second].slice(0, MAX_OFFERED);
}

/** A text with a name in place of what was begun before the caret, and the caret behind it. */
export function completed(text: string, caret: number, name: string): [string, number] {
  const start = caret - (begun(text, caret)?.length ?? 0);
  const before = `${text.slice(0, start)}${name} `;
  return [before + text.slice(caret).replace(/^ /, ""), before.length];
}

/** Whether a name can be spoken to with `@`: it would be found again in the text. */
function isSayable(name: string): boolean {
  const [piece, ...rest] = pieces(`@${name}`);
  return piece?.mention === true && rest.length === 0;
}
