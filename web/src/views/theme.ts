/** Light or dark, as the user wants it. */

import { signal } from "@preact/signals";
import { recall, save } from "../model/saved";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const theme = signal<Theme>(recall<Theme>("theme") ?? "auto");

/** Have the page look so. */
export function dress(wanted: Theme = theme.value): void {
  theme.value = wanted;
  document.documentElement.dataset.theme = wanted;
  save("theme", wanted);
}
