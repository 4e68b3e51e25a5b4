/** The log as a strip, with lanes below it: the same SeqId stands in the same column everywhere. */

import type { ComponentChildren } from "preact";
import { say } from "../words";
import { type Group, groups, type Sight } from "./lanes";
import { chosen } from "./state";
import { COLUMN, LABEL, ROW, Thread, x } from "./Thread";

const TITLE = 24;
const NAME_CHARS = 22;

export function Strip(sight: Sight) {
  const { first, last, seen } = sight;
  const [placed, height] = placeAll(groups(sight));
  const width = LABEL + (last - first + 2) * COLUMN;
  const marked = chosen.value >= first && chosen.value <= last;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keyboard
    <section class="strip" aria-label={say("explorer.strip")} tabIndex={0}>
      <svg width={width} height={height} role="img" aria-label={say("explorer.strip.hint")}>
        {marked && (
          <rect class="chosen" x={x(chosen.value, first)} y={0} width={COLUMN} height={height} />
        )}
        <Ruler first={first} last={last} />
        {seen.floor > first && seen.floor <= last && (
          <Floor at={x(seen.floor, first)} height={height} />
        )}
        {placed.map(({ title, top, rows }) => (
          <g key={title}>
            <text class="title" x={8} y={top + TITLE - 8}>
              {say(title)}
            </text>
            {rows.map(({ row, y }) => (
              <Line key={row.key} name={row.name} note={row.note} y={y}>
                {row.content}
              </Line>
            ))}
          </g>
        ))}
        {marked && (
          <Thread
            at={x(chosen.value, first) + COLUMN / 2}
            stops={placed.flatMap(({ rows }) =>
              rows.flatMap(({ row, y }) =>
                row.stop ? [{ key: row.key, y: y + ROW / 2, has: row.stop === "has" }] : [],
              ),
            )}
          />
        )}
      </svg>
      <Legend />
    </section>
  );
}

interface Placed {
  readonly title: Group["title"];
  readonly top: number;
  readonly rows: readonly { readonly row: Group["rows"][number]; readonly y: number }[];
}

/** Groups one below the other, and how high they are together. */
function placeAll(all: readonly Group[]): [Placed[], number] {
  let height = ROW;
  const placed = all
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows }) => {
      const top = height;
      height += TITLE + rows.length * ROW;
      return { title, top, rows: rows.map((row, at) => ({ row, y: top + TITLE + at * ROW })) };
    });
  return [placed, height + 6];
}

interface LineProps {
  readonly name: string;
  readonly note: string;
  readonly y: number;
  readonly children: ComponentChildren;
}

function Line({ name, note, y, children }: LineProps) {
  return (
    <g transform={`translate(0 ${y})`}>
      <text class="label" x={8} y={ROW - 7}>
        {short(name)}
        <title>{name}</title>
      </text>
      <text class="note" x={LABEL - 10} y={ROW - 7} text-anchor="end">
        {note}
      </text>
      {children}
    </g>
  );
}

function short(name: string): string {
  const letters = Array.from(name);
  return letters.length > NAME_CHARS ? `${letters.slice(0, NAME_CHARS - 1).join("")}…` : name;
}

function Ruler({ first, last }: { readonly first: number; readonly last: number }) {
  const marks: number[] = [];
  for (let seq = Math.ceil(first / 10) * 10; seq <= last; seq += 10) marks.push(seq);
  return (
    <g class="ruler">
      <text x={8} y={ROW - 7}>
        SeqId
      </text>
      {marks.map((seq) => (
        <text key={seq} x={x(seq, first) + COLUMN / 2} y={ROW - 7} text-anchor="middle">
          {seq}
        </text>
      ))}
    </g>
  );
}

/** Before this line, inboxes hold nothing any more. */
function Floor({ at, height }: { readonly at: number; readonly height: number }) {
  return (
    <g class="floor">
      <line x1={at} x2={at} y1={ROW} y2={height} />
      <text x={at + 4} y={ROW + 14}>
        {say("explorer.floor")}
      </text>
    </g>
  );
}

function Legend() {
  const kinds = ["write", "read", "push", "gone", "expired"] as const;
  return (
    <ul class="legend">
      {kinds.map((kind) => (
        <li key={kind}>
          <svg width={12} height={12} aria-hidden="true">
            <rect
              class={kind === "expired" ? "expired" : `cell ${kind}`}
              x={0.5}
              y={0.5}
              width={11}
              height={11}
              rx={2}
            />
          </svg>
          {say(`explorer.${kind}`)}
        </li>
      ))}
    </ul>
  );
}
