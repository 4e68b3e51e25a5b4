/** What was begun to be written, for each conversation: it outlives reloads, and tabs share it. */

import { signal } from "@preact/signals";
import { elsewhere, recall, save } from "./saved";

/** How often another tab has changed a draft. */
export const othersDrafts = signal(0);

elsewhere("draft:", () => {
  othersDrafts.value += 1;
});

/** What was begun. Whoever shows it follows what other tabs write. */
export function draftOf(user: string, conversation: string): string {
  void othersDrafts.value;
  return recall<string>(`draft:${user}:${conversation}`) ?? "";
}

export function keepDraft(user: string, conversation: string, text: string): void {
  save(`draft:${user}:${conversation}`, text || undefined);
}
