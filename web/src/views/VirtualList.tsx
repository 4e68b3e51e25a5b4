/**
 * A list of any length that holds only the rows near what is seen.
 *
 * One row stays where it is whatever happens around it: the first one that is seen, or the end of
 * the list when that is in sight. Rows above it may come, go or turn out higher than guessed.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef } from "preact/hooks";
import { Heights, type Key } from "./heights";

/** Rows this far (px) outside of what is seen are there too. */
const OVERSCAN_PX = 600;
/** So near (px) to an end of the list more is asked for. */
const NEAR_PX = 1_200;
/** So near (px) to the end counts as the end. */
const END_PX = 24;
const GUESSED_ROW_PX = 56;

export interface VirtualListProps<Item> {
  readonly items: readonly Item[];
  readonly keyOf: (item: Item) => Key;
  readonly render: (item: Item, at: number) => ComponentChildren;
  readonly label: string;
  /** Whether there is something before the first row, and beyond the last. */
  readonly hasBefore: boolean;
  readonly hasBeyond: boolean;
  readonly onBefore: () => void;
  readonly onBeyond: () => void;
  /** The end of the list has come into sight, or has left it. */
  readonly onEnd: (seen: boolean) => void;
  /** Bring this row, or the end, into sight, each time that there is another `target`. */
  readonly target?: Target | undefined;
}

/** A row, or without a key the end of the list. */
export interface Target {
  readonly key?: Key;
}

type Anchor = "end" | { readonly key: Key; readonly offset: number };

export function VirtualList<Item>(props: VirtualListProps<Item>) {
  const { items, keyOf, render } = props;
  const box = useRef<HTMLDivElement>(null);
  const block = useRef<HTMLDivElement>(null);
  const heights = useRef(new Heights(GUESSED_ROW_PX)).current;
  const anchor = useRef<Anchor>("end");
  /** How far the list was scrolled when that was looked at last. */
  const scroll = useRef(0);
  const rows = useRef<[from: number, to: number]>([0, 0]);
  const seen = useRef<boolean | undefined>(undefined);
  const [, again] = useReducer((n: number) => n + 1, 0);
  const latest = useRef(props);

  /** Follow where the user has scrolled to: what is laid out before the event must not undo it. */
  const follow = () => {
    const outer = box.current;
    if (!outer || Math.abs(outer.scrollTop - scroll.current) <= 1) return;
    scroll.current = outer.scrollTop;
    anchor.current = anchorAt(heights, outer, latest.current.hasBeyond);
  };
  follow();
  latest.current = props;
  heights.arrange(items.map(keyOf));
  const view = box.current?.clientHeight ?? 800;
  const top = scrollFor(anchor.current, heights, view) ?? box.current?.scrollTop ?? 0;
  rows.current = needed(heights, top, view);
  const [from, to] = rows.current;

  const settle = () => {
    const [outer, inner] = [box.current, block.current];
    if (!outer || !inner) return;
    let news = false;
    const [first] = rows.current;
    for (let at = 0; at < inner.children.length; at++) {
      const key = heights.key(first + at);
      const height = inner.children[at]?.getBoundingClientRect().height ?? 0;
      if (key !== undefined && heights.measure(key, height)) news = true;
    }
    if (news) heights.arrange(latest.current.items.map(latest.current.keyOf));
    inner.style.transform = `translateY(${heights.top(first)}px)`;
    (inner.parentElement as HTMLElement).style.height = `${heights.total}px`;
    const wanted = scrollFor(anchor.current, heights, outer.clientHeight);
    if (wanted !== undefined && Math.abs(wanted - outer.scrollTop) > 1) outer.scrollTop = wanted;
    scroll.current = outer.scrollTop;
    if (uncovered(heights, rows.current, outer)) again(0);
    else ask();
  };
  const ask = () => {
    const outer = box.current;
    if (!outer) return;
    const { hasBefore, hasBeyond, onBefore, onBeyond, onEnd } = latest.current;
    const below = heights.total - outer.scrollTop - outer.clientHeight;
    if (hasBefore && outer.scrollTop < NEAR_PX) onBefore();
    if (hasBeyond && below < NEAR_PX) onBeyond();
    const atEnd = below <= END_PX;
    if (atEnd && !hasBeyond) anchor.current = "end";
    if (atEnd !== seen.current) onEnd(atEnd);
    seen.current = atEnd;
  };
  const scrolled = () => {
    const outer = box.current;
    if (!outer) return;
    follow();
    if (uncovered(heights, rows.current, outer)) again(0);
    else ask();
  };

  useLayoutEffect(settle);
  useLayoutEffect(() => {
    const { target } = props;
    if (!target) return;
    const offset = (box.current?.clientHeight ?? 0) / 3;
    anchor.current = target.key === undefined ? "end" : { key: target.key, offset };
    again(0);
  }, [props.target]);
  useEffect(() => {
    const watcher = new ResizeObserver(() => {
      follow();
      settle();
    });
    if (box.current) watcher.observe(box.current);
    if (block.current) watcher.observe(block.current);
    return () => watcher.disconnect();
  }, []);

  return (
    <div
      class="scroller"
      ref={box}
      onScroll={scrolled}
      role="feed"
      aria-label={props.label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
      tabIndex={0}
    >
      <div class="canvas" role="presentation">
        <div class="block" role="presentation" ref={block}>
          {items.slice(from, to).map((item, at) => render(item, from + at))}
        </div>
      </div>
    </div>
  );
}

/** Where the list has to be scrolled to, for its anchor to stay in place. */
function scrollFor(anchor: Anchor, heights: Heights, view: number): number | undefined {
  const furthest = Math.max(0, heights.total - view);
  if (anchor === "end") return furthest;
  const at = heights.place(anchor.key);
  if (at === undefined) return undefined;
  return Math.max(0, Math.min(furthest, heights.top(at) - anchor.offset));
}

function anchorAt(
  heights: Heights,
  { scrollTop, clientHeight }: HTMLElement,
  hasBeyond: boolean,
): Anchor {
  if (!hasBeyond && heights.total - scrollTop - clientHeight <= END_PX) return "end";
  const at = heights.at(scrollTop);
  const key = heights.key(at);
  return key === undefined ? "end" : { key, offset: heights.top(at) - scrollTop };
}

function needed(heights: Heights, top: number, view: number): [number, number] {
  if (!heights.count) return [0, 0];
  return [heights.at(top - OVERSCAN_PX), heights.at(top + view + OVERSCAN_PX) + 1];
}

/** Whether what is seen, and a little more, is not all there. */
function uncovered(
  heights: Heights,
  [from, to]: readonly [number, number],
  { scrollTop, clientHeight }: HTMLElement,
): boolean {
  const [above, below] = [scrollTop - OVERSCAN_PX / 3, scrollTop + clientHeight + OVERSCAN_PX / 3];
  return (from > 0 && heights.top(from) > above) || (to < heights.count && heights.top(to) < below);
}
