/** Messages and frames for tests. */

import * as protocol from "../src/protocol.js";

export const LIMITS: protocol.Limits = {
  frame_bytes: 4096,
  body_bytes: 1024,
  page_entries: 50,
  sends_in_flight: 3,
  frames_per_second: 0,
  bytes_per_second: 0,
  sends_per_second: 0,
  conversation_sends_per_second: 0,
};

/** A message by bob to `team`, with the SeqId in it; `more` says what is different. */
export function message(seq: number, more: Partial<protocol.Message> = {}): protocol.Message {
  return protocol.message({
    conversation: "team",
    seq,
    time: 1000 + seq,
    from: "bob",
    id: `m${seq}`,
    kind: "text",
    body: { n: seq },
    ...more,
  });
}

/** A frame as it is heard: what it leaves out is filled in. */
export function frame(given: Readonly<Record<string, unknown>>): protocol.ServerFrame {
  const known = protocol.decode(JSON.stringify(given));
  if (!known) throw new TypeError(`no frame: ${given.type}`);
  return known;
}

export function welcome(pos = "0", more: object = {}): protocol.ServerFrame {
  const who = { user: "alice", device: "laptop", session: "s", base: "base" };
  return frame({ type: "welcome", ...who, pos, time: 1, limits: LIMITS, ...more });
}

export function page(...messages: protocol.Message[]): protocol.ServerFrame {
  return frame({ type: "page", messages, pos: String(messages.at(-1)?.seq) });
}

export function push(one: protocol.Message): protocol.ServerFrame {
  return frame({ type: "push", pos: String(one.seq), message: one });
}

export const live = (pos = "0") => frame({ type: "live", pos });

export const ack = (id: string, seq: number) => frame({ type: "ack", id, seq, time: 1000 + seq });

export function problem(
  code: string,
  id: string,
  retry = false,
  fields: Record<string, unknown> = {},
): protocol.ServerFrame {
  return frame({ type: "error", code, message: code, id, retry, fields });
}

/** A text that is sent, with its id as its text. */
export function send(id: string, to = "team"): protocol.Send {
  return { type: "send", id, to, body: { text: id } };
}

export function seqs(messages: readonly protocol.Message[]): number[] {
  return messages.map(({ seq }) => seq);
}
