/** The rows of the strip: the log, conversations, inboxes, devices, and whatever follows the log. */

import type { ComponentChildren } from "preact";
import { say, type Word } from "../words";
import type { Entry, Exploration, Lane, Marker } from "./server";
import { epochs } from "./shapes";
import { choose, chosen, way } from "./state";
import { COLUMN, LABEL, ROW, x } from "./Thread";

/** What is looked at, and the SeqIds that it reaches from and to. */
export interface Sight {
  readonly seen: Exploration;
  readonly first: number;
  readonly last: number;
}

/** `stop`: whether the followed message is here, or is on its way here; else it does not come here. */
export interface Row {
  readonly key: string;
  readonly name: string;
  readonly note: string;
  readonly content: ComponentChildren;
  readonly stop: "has" | "missing" | "";
}

export interface Group {
  readonly title: Word;
  readonly rows: readonly Row[];
}

export function groups(sight: Sight): Group[] {
  const { seen } = sight;
  // By name, so that a lane stays where it is while messages come.
  const lanes = byName(seen.lanes, ({ conversation }) => conversation);
  const inboxes = byName(seen.inboxes, ({ user }) => user);
  const devices = byName(seen.devices, ({ user, device }) => `${user} ${device}`);
  return [
    { title: "explorer.log", rows: [logRow(sight)] },
    { title: "explorer.lanes", rows: lanes.map((lane) => conversationRow(sight, lane)) },
    { title: "explorer.inboxes", rows: inboxes.map((one) => inboxRow(sight, one)) },
    { title: "explorer.devices", rows: devices.map((one) => deviceRow(sight, one)) },
    {
      title: "explorer.consumers",
      rows: Object.entries(seen.consumers).map((one) => consumerRow(sight, ...one)),
    },
  ];
}

function byName<Item>(items: readonly Item[], name: (item: Item) => string): Item[] {
  return [...items].sort((one, other) => name(one).localeCompare(name(other)));
}

function logRow({ seen, first }: Sight): Row {
  return {
    key: "log",
    name: say("explorer.head"),
    note: String(seen.head),
    content: seen.entries.map((one) => <Message key={one.seq} of={one} first={first} />),
    stop: "has",
  };
}

function conversationRow({ seen, first, last }: Sight, lane: Lane): Row {
  const own = seen.entries.filter((one) => one.conversation === lane.conversation);
  return {
    key: `c ${lane.conversation}`,
    name: lane.conversation,
    note: say("members", { count: lane.members }),
    stop: own.some(({ seq }) => seq === chosen.value) ? "has" : "",
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
          <Message key={one.seq} of={one} first={first} />
        ))}
      </>
    ),
  };
}

function inboxRow(sight: Sight, { user, seqs }: Exploration["inboxes"][number]): Row {
  const { seen, first, last } = sight;
  const expired = Math.min(seen.floor - 1, last) - first + 1;
  return {
    key: `i ${user}`,
    name: user,
    note: "",
    stop: seqs.includes(chosen.value) ? "has" : "",
    content: (
      <>
        <rect class="track" x={LABEL} y={1} width={(last - first + 1) * COLUMN} height={ROW - 2} />
        {expired > 0 && (
          <rect class="expired" x={LABEL} y={1} width={expired * COLUMN} height={ROW - 2} />
        )}
        {seqs.map((seq) => (
          <Cell key={seq} seq={seq} first={first} kind="reference" />
        ))}
      </>
    ),
  };
}

function deviceRow({ first, last }: Sight, { user, device, live, position }: Marker): Row {
  const receives = way.value?.receivers.some((one) => one.user === user);
  const has = position >= chosen.value;
  return {
    key: `d ${user} ${device}`,
    name: say("explorer.device", { user, device }),
    note: String(position),
    stop: receives ? (has ? "has" : "missing") : "",
    content: <Reach position={position} first={first} last={last} live={live} />,
  };
}

function consumerRow({ seen, first, last }: Sight, name: string, position: number): Row {
  const lag = seen.head - position;
  return {
    key: `p ${name}`,
    name,
    note: say("explorer.lag", { lag }),
    stop: "",
    content: <Reach position={position} first={first} last={last} live={lag <= 0} />,
  };
}

function Message({ of, first }: { readonly of: Entry; readonly first: number }) {
  const { seq, kind, mode, sender, conversation } = of;
  const title = kind ? `${seq} · ${conversation} · ${sender}: ${kind}` : String(seq);
  return <Cell seq={seq} first={first} kind={kind === "" ? "gone" : mode} title={title} />;
}

interface CellProps {
  readonly seq: number;
  readonly first: number;
  readonly kind: string;
  readonly title?: string;
}

/** A message at its SeqId; a click follows it. */
function Cell({ seq, first, kind, title = String(seq) }: CellProps) {
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
      <title>{title}</title>
    </rect>
  );
}

/** How far something has come: a line up to there, and its end, which moves on by itself. */
function Reach(props: { position: number; first: number; last: number; live: boolean }) {
  const { position, first, last, live } = props;
  const end = Math.min(Math.max(position, first - 1), last);
  const reached = x(end, first) + COLUMN - LABEL;
  return (
    <g class={live ? "reach live" : "reach"} data-position={position}>
      <rect class="track" x={LABEL} y={1} width={(last - first + 1) * COLUMN} height={ROW - 2} />
      <rect class="bar" x={LABEL} y={ROW / 2 - 1.5} width={reached} height={3} />
      <g class="tip" transform={`translate(${LABEL + reached} ${ROW / 2})`}>
        <path d="M-6 -6l7 6l-7 6z" />
      </g>
    </g>
  );
}
