/** The rows of a conversation: what of a message is shown depends on the one before it. */

import type { Message } from "@timewire/client";
import { isNotice, isRow } from "../model/messages";
import type { Waiting } from "../model/outbox";

/** Messages of one author this close (ms) are one group. */
const GROUP_MS = 5 * 60 * 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

/** `day`: it is the first of its day. `head`: who said it and when is told with it. */
export interface Row {
  readonly key: string | number;
  readonly message: Message | undefined;
  readonly waiting: Waiting | undefined;
  readonly day: number;
  readonly head: boolean;
}

/** Rows for messages, and for what is on its way after them. */
export function rowsOf(
  messages: readonly Message[],
  waiting: readonly Waiting[],
  user: string,
): Row[] {
  const rows: Row[] = [];
  let [author, time, day] = ["", 0, -1];
  const put = (from: string, at: number, said: Pick<Row, "key" | "message" | "waiting">) => {
    const today = dayOf(at);
    const isFirst = today !== day;
    rows.push({
      ...said,
      day: isFirst ? at : 0,
      head: isFirst || from !== author || at - time > GROUP_MS,
    });
    [author, time, day] = [from, at, today];
  };
  for (const message of messages) {
    if (!isRow(message)) continue;
    const from = isNotice(message) ? "" : message.from;
    put(from, message.time, { key: message.seq, message, waiting: undefined });
  }
  for (const one of waiting) put(user, one.time, { key: one.id, message: undefined, waiting: one });
  return rows;
}

let [zoneFrom, zoneTo, zoneMs] = [0, 0, 0];

/** The number of the day here. The offset of the zone is looked up once for each day of UTC. */
function dayOf(ms: number): number {
  if (ms < zoneFrom || ms >= zoneTo) {
    zoneFrom = ms - (ms % DAY_MS);
    zoneTo = zoneFrom + DAY_MS;
    zoneMs = new Date(ms).getTimezoneOffset() * 60_000;
  }
  return Math.floor((ms - zoneMs) / DAY_MS);
}
