/** What was begun to be written, for each conversation: it outlives reloads. */

import { recall, save } from "./saved";

export function draftOf(user: string, conversation: string): string {
  return recall<string>(`draft:${user}:${conversation}`) ?? "";
}

export function keepDraft(user: string, conversation: string, text: string): void {
  save(`draft:${user}:${conversation}`, text || undefined);
}
