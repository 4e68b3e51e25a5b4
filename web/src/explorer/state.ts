/** What the explorer looks at: asked for again and again, for as long as the page is in sight. */

import { computed, signal } from "@preact/signals";
import { reason } from "../views/parts";
import { type Exploration, explore, follow, type Timing, type Way } from "./server";
import { SHOWN_LOOKS } from "./shapes";
import { COLUMN, LABEL } from "./Thread";

/** Between two looks. */
const PAUSE_MS = 700;
/** Entries of the log in sight: as many as there is room for, within limits. */
const SHOWN_ENTRIES = Math.max(40, Math.min(160, Math.floor((innerWidth - LABEL - 60) / COLUMN)));

/** What happened between two looks. Times are in ms, rates by the second; null: nothing to tell. */
export interface Beat {
  readonly messages: number;
  readonly pushes: number;
  /** Entries that a message was written to: its conversation and inboxes. */
  readonly written: number | null;
  readonly commit: number | null;
  readonly delivery: number | null;
}

/** The admin key. It is kept by no browser: it is asked for each time. */
export const key = signal("");
export const fault = signal("");
export const exploration = signal<Exploration | null>(null);
export const beats = signal<readonly Beat[]>([]);
/** The SeqId at which the stretch ends; 0 follows the head. */
export const upto = signal(0);
export const chosen = signal(0);
export const way = signal<Way | null>(null);

/** The SeqIds of the stretch in sight. */
export const stretch = computed(() => {
  const last = upto.value || exploration.value?.head || 0;
  return { first: Math.max(1, last - SHOWN_ENTRIES + 1), last };
});

/** Look for as long as the key is right; how to stop. */
export function watch(): () => void {
  let timer = 0;
  let over = false;
  const look = async () => {
    if (!document.hidden) await lookOnce();
    if (!over && key.value) timer = window.setTimeout(look, PAUSE_MS);
  };
  void look();
  return () => {
    over = true;
    window.clearTimeout(timer);
  };
}

async function lookOnce(): Promise<void> {
  try {
    const [seen, found] = await Promise.all([
      explore(key.value, upto.value, SHOWN_ENTRIES),
      chosen.value ? follow(key.value, chosen.value) : null,
    ]);
    const before = exploration.value;
    if (before?.epoch === seen.epoch)
      beats.value = [...beats.value, beat(before, seen)].slice(-SHOWN_LOOKS);
    exploration.value = seen;
    way.value = found?.entry.seq === chosen.value ? found : null;
    fault.value = "";
  } catch (failure) {
    fault.value = reason(failure);
    if (!exploration.value) key.value = "";
    chosen.value = way.value ? chosen.value : 0;
  }
}

function beat(before: Exploration, after: Exploration): Beat {
  const messages = after.amplification.messages - before.amplification.messages;
  const writes = after.amplification.actual.writes - before.amplification.actual.writes;
  const seconds = Math.max(1, after.now - before.now) / 1000;
  return {
    messages: (after.head - before.head) / seconds,
    pushes: (after.pushes - before.pushes) / seconds,
    written: messages > 0 ? writes / messages : null,
    commit: mean(before.commits, after.commits),
    delivery: mean(before.deliveries, after.deliveries),
  };
}

function mean(before: Timing, after: Timing): number | null {
  const count = after.count - before.count;
  return count > 0 ? ((after.seconds - before.seconds) / count) * 1000 : null;
}

/** Follow a message, and have it in sight. */
export function choose(seq: number): void {
  const head = exploration.value?.head ?? 0;
  const wanted = Math.min(Math.max(1, seq), head);
  chosen.value = wanted;
  way.value = null;
  const { first, last } = stretch.value;
  if (wanted < first || wanted > last) upto.value = Math.min(head, wanted + SHOWN_ENTRIES / 2);
}
