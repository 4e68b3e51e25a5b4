/** The words of the page, in the user's language, and how times are told in it. */

import { signal } from "@preact/signals";
import i18next from "i18next";
import { recall, save } from "../model/saved";
import en from "./en.json";
import zh from "./zh.json";

export const LANGUAGES = { en: "English", zh: "中文" } as const;
export type Language = keyof typeof LANGUAGES;

type Plural<Key> = Key extends `${infer Base}_${"one" | "other"}` ? Base : Key;
/** What can be said; the texts are in `en.json` and `zh.json`. */
export type Word = Plural<keyof typeof en>;

export const language = signal<Language>(
  recall<Language>("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
);

void i18next.init({
  lng: language.value,
  fallbackLng: "en",
  resources: { en: { translation: en }, zh: { translation: zh } },
  keySeparator: false,
  nsSeparator: false,
  initAsync: false,
  // Texts are shown as text: what stands for itself in HTML must not be changed here.
  interpolation: { escapeValue: false },
});
document.documentElement.lang = language.value;

/** Speak another language from now on. */
export function speak(wanted: Language): void {
  void i18next.changeLanguage(wanted);
  document.documentElement.lang = wanted;
  save("language", wanted);
  language.value = wanted;
}

/** The words for something, with what is to be named in them. Whoever shows them follows `language`. */
export function say(word: Word, values: Record<string, string | number> = {}): string {
  void language.value;
  return i18next.t(word, values);
}

/** Names in a row, as a sentence lists them. */
export function listed(names: readonly string[]): string {
  return new Intl.ListFormat(language.value, { type: "conjunction" }).format(names);
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language.value} ${name}`;
  const made = formats.get(key) ?? new Intl.DateTimeFormat(language.value, options);
  formats.set(key, made);
  return made;
}

/** The time of day. */
export function clock(ms: number): string {
  return format("clock", { hour: "2-digit", minute: "2-digit" }).format(ms);
}

/** The day, in full. */
export function day(ms: number): string {
  return format("day", { weekday: "long", day: "numeric", month: "long", year: "numeric" }).format(
    ms,
  );
}

/** Day and time. */
export function moment(ms: number): string {
  return format("moment", { dateStyle: "medium", timeStyle: "short" }).format(ms);
}

/** Today the time, else the day: what fits beside a name. */
export function brief(ms: number): string {
  if (isSameDay(ms, Date.now())) return clock(ms);
  return format("brief", { day: "numeric", month: "short" }).format(ms);
}

/** Whether two times are on one day here. */
export function isSameDay(one: number, other: number): boolean {
  return new Date(one).toDateString() === new Date(other).toDateString();
}
