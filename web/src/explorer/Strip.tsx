/** The log as a strip, with lanes below it: the same SeqId stands in the same column everywhere. */

import type { ComponentChildren } from "preact";
import { say } from "../words";
import type { Exploration, Lane, Marker } from "./server";
import { epochs } from "./shapes";
import { choose, chosen } from "./state";

const COLUMN = 14;
const ROW = 22;
const LABEL = 210;
const NAME_CHARS = 28;

interface Sight {
  readonly seen: Exploration;
  readonly first: number;
  readonly last: number;
}

interface Row {
  readonly key: string;
  readonly name: string;
  readonly content: ComponentChildren;
}

export function Strip({ seen, first, last }: Sight) {
  const rows = [
    log(seen, first),
    ...seen.lanes.map((lane) => conversation(seen, lane, first, last)),
    ...seen.inboxes.map((inbox) => inboxRow(seen, inbox.user, inbox.seqs, first, last)),
    ...seen.devices.map((device) => deviceRow(device, first, last)),
    ...Object.entries(seen.consumers).map(([name, position]) =>
      consumerRow(name, position, seen.head, first, last),
    ),
  ];
  const width = LABEL + (last - first + 2) * COLUMN;
  const height = (rows.length + 1) * ROW;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keyboard
    <section class="strip" aria-label={say("explorer.strip")} tabIndex={0}>
      <svg width={width} height={height} role="img" aria-label={say("explorer.strip.hint")}>
        <Ruler first={first} last={last} />
        {chosen.value >= first && chosen.value <= last && (
          <rect class="chosen" x={x(chosen.value, first)} y={0} width={COLUMN} height={height} />
        )}
        {rows.map((row, number) => (
          <g key={row.key} transform={`translate(0 ${(number + 1) * ROW})`}>
            <text class="label" x={6} y={ROW - 7}>
              {short(row.name)}
              <title>{row.name}</title>
            </text>
            {row.content}
          </g>
        ))}
      </svg>
      <Legend />
    </section>
  );
}

function x(seq: number, first: number): number {
  return LABEL + (seq - first) * COLUMN;
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
      {marks.map((seq) => (
        <text key={seq} x={x(seq, first)} y={ROW - 7}>
          {seq}
        </text>
      ))}
    </g>
  );
}

/** A message at its SeqId; a click follows it. */
function Cell({ seq, first, kind }: { seq: number; first: number; kind: string }) {
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the number above follows by keyboard
    <rect
      class={`cell ${kind}`}
      data-seq={seq}
      x={x(seq, first) + 1}
      y={3}
      width={COLUMN - 2}
      height={ROW - 6}
      rx={3}
      onClick={() => choose(seq)}
    >
      <title>{seq}</title>
    </rect>
  );
}

function log(seen: Exploration, first: number): Row {
  return {
    key: "log",
    name: say("explorer.log"),
    content: seen.entries.map((one) => (
      <Cell key={one.seq} seq={one.seq} first={first} kind={one.kind === "" ? "gone" : one.mode} />
    )),
  };
}

function conversation(seen: Exploration, lane: Lane, first: number, last: number): Row {
  const own = seen.entries.filter((one) => one.conversation === lane.conversation);
  return {
    key: `c ${lane.conversation}`,
    name: `${lane.conversation} (${lane.members})`,
    content: (
      <>
        {epochs(lane, first, last).map((span) => (
          <rect
            key={span.from}
            class={`epoch ${span.mode}`}
            x={x(span.from, first)}
            y={1}
            width={(span.to - span.from + 1) * COLUMN}
            height={ROW - 2}
          />
        ))}
        {own.map((one) => (
          <Cell
            key={one.seq}
            seq={one.seq}
            first={first}
            kind={one.kind === "" ? "gone" : one.mode}
          />
        ))}
      </>
    ),
  };
}

function inboxRow(
  seen: Exploration,
  user: string,
  seqs: readonly number[],
  first: number,
  last: number,
): Row {
  const expired = Math.min(seen.floor - 1, last) - first + 1;
  return {
    key: `i ${user}`,
    name: say("explorer.inbox", { user }),
    content: (
      <>
        {expired > 0 && (
          <rect
            class="expired"
            x={x(first, first)}
            y={1}
            width={expired * COLUMN}
            height={ROW - 2}
          />
        )}
        {seqs.map((seq) => (
          <Cell key={seq} seq={seq} first={first} kind="reference" />
        ))}
      </>
    ),
  };
}

function deviceRow(device: Marker, first: number, last: number): Row {
  return {
    key: `d ${device.user} ${device.device}`,
    name: say("explorer.device", { user: device.user, device: device.device }),
    content: <Reach position={device.position} first={first} last={last} live={device.live} />,
  };
}

function consumerRow(
  name: string,
  position: number,
  head: number,
  first: number,
  last: number,
): Row {
  return {
    key: `p ${name}`,
    name: say("explorer.lag", { name, lag: head - position }),
    content: <Reach position={position} first={first} last={last} live={position >= head} />,
  };
}

/** How far something has come: a line up to there, and its end. */
function Reach(props: { position: number; first: number; last: number; live: boolean }) {
  const { position, first, last, live } = props;
  const end = Math.min(Math.max(position, first - 1), last);
  const tip = x(end, first) + COLUMN;
  return (
    <g class={live ? "reach live" : "reach"} data-position={position}>
      <line x1={LABEL} x2={tip} y1={ROW / 2} y2={ROW / 2} />
      <path d={`M${tip} ${ROW / 2 - 5}l6 5l-6 5z`} />
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
            <rect class={kind === "expired" ? "expired" : `cell ${kind}`} width={12} height={12} />
          </svg>
          {say(`explorer.${kind}`)}
        </li>
      ))}
    </ul>
  );
}
