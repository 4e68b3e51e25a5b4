/**
 * What the messages that a device has look like, now that later ones have changed them.
 *
 * Changes come in the order of their SeqIds, with one exception: the device's own are known by their
 * acks, which wait for nothing. So a change that comes is applied, and then again those behind it. A
 * message comes with the changes that the server had then (`version`); those are not repeated.
 *
 * Who is no member of a conversation is not told of changes. So after a return what stands before it
 * may be out of date: it is shown no more, and can be read from the server.
 */

import { byCodePoint } from "./names.js";
import { type ControlBodies, type Message, message } from "./protocol.js";
import { type Rows, under } from "./tables.js";

/** The base of a message of which nothing is left: no change is behind it. */
export const FINAL = Number.MAX_SAFE_INTEGER;

/** The base of a message that the server could not read: any state of it that comes is newer. */
export const UNREAD = -1;

/** A message as it is now. `base`: the SeqId of the newest change that it came with. */
export interface Row {
  readonly message: Message;
  readonly base: number;
}

/** A conversation: what is kept of it begins here; the user has left it there (0: not). */
export interface Span {
  readonly begins: number;
  readonly left: number;
}

/** What is left of a redacted message: its place and its time. */
export function bare({ conversation, seq, time }: Message): Message {
  return message({ conversation, seq, time });
}

/** Keep a message about which nothing is kept yet. */
export function keepNew(rows: Rows, message: Message): Promise<void> {
  return put(rows, asItCame(message));
}

/** Keep a message. False when it was here already; then one with newer changes replaces it. */
export async function keep(rows: Rows, message: Message): Promise<boolean> {
  const { conversation, seq } = message;
  // Asked together: each answer of IndexedDB takes its time.
  const [known, row] = await Promise.all([get(rows, conversation, seq), settle(rows, message)]);
  if (!known || isNewer(message, known)) await put(rows, row);
  return !known;
}

/** Do to earlier messages on a user's device what a new one says. */
export async function heed(rows: Rows, user: string, message: Message): Promise<void> {
  const { conversation, seq } = message;
  if (rewrites(message)) {
    const target = message.body.seq as number;
    await rows.put("notes", [conversation, target, seq], true);
    await follow(rows, conversation, target, seq);
    await limitEdits(rows, conversation, target);
  } else if (is("hidden", message)) {
    await hide(rows, message.body.conversation, message.body.seq);
  } else if (is("members", message) || is("banned", message)) {
    await followMembership(rows, user, message);
  } else if (message.expires) {
    await limitEdits(rows, conversation, seq);
  }
}

function isNewer(message: Message, known: Row): boolean {
  if (message.damaged) return false; // what is here is more than what the server has left
  if (!message.kind) return known.message.kind !== "" || known.message.damaged;
  return message.version > known.base;
}

/** A message that has come, with the later changes that are here already. */
async function settle(rows: Rows, message: Message): Promise<Row> {
  const { conversation, seq } = message;
  const [hidden, changes] = await Promise.all([
    rows.get("hidden", [conversation, seq]),
    noted(rows, conversation, seq),
  ]);
  if (message.damaged) return { message, base: UNREAD };
  return hidden ? gone(message) : fold(asItCame(message), changes);
}

function asItCame(message: Message): Row {
  return message.kind ? { message, base: message.version } : gone(message);
}

/** A change with the SeqId `since` has come: apply it, and those behind it again. */
async function follow(rows: Rows, conversation: string, seq: number, since: number): Promise<void> {
  const changes = await noted(rows, conversation, seq);
  const row = await get(rows, conversation, seq);
  if (row) {
    const later = changes.filter((one) => one.seq >= since);
    await put(rows, fold(row, later));
  }
  if (changes.some((one) => is("recalled", one))) {
    for (const one of changes) if (is("edited", one)) await put(rows, gone(one));
  }
}

function fold({ message, base }: Row, changes: readonly Message[]): Row {
  let now = message;
  for (const change of changes) {
    if (change.seq <= base) continue;
    if (is("recalled", change)) return gone(message);
    if (is("edited", change)) now = edited(now, change);
    else if (is("reaction", change)) now = reacted(now, change);
  }
  return { message: now, base };
}

function edited(was: Message, change: Of<"edited">): Message {
  const edits = [...new Set([...was.edits, change.seq])].sort((a, b) => a - b);
  const version = Math.max(was.version, change.seq);
  const newest = edits.at(-1) === change.seq;
  const said = newest ? { body: change.body.body, edited: change.time } : {};
  return { ...was, ...said, edits, version };
}

function reacted(was: Message, change: Of<"reaction">): Message {
  const { emoji, on = true } = change.body;
  const users = (was.reactions[emoji] ?? []).filter((user) => user !== change.from);
  if (on) users.push(change.from);
  const all = Object.entries({ ...was.reactions, [emoji]: users.sort(byCodePoint) });
  const reactions = Object.fromEntries(all.filter(([, some]) => some.length));
  return { ...was, reactions, version: Math.max(was.version, change.seq) };
}

/** A message after a later one that changes it: an edit, a reaction, a recall. */
export function revised(message: Message, change: Message): Message {
  return fold({ message, base: message.version }, [change]).message;
}

async function hide(rows: Rows, conversation: string, seq: number): Promise<void> {
  await rows.put("hidden", [conversation, seq], true);
  const target = await get(rows, conversation, seq);
  if (target) await put(rows, gone(target.message));
}

async function followMembership(
  rows: Rows,
  user: string,
  message: Of<"members"> | Of<"banned">,
): Promise<void> {
  const { conversation, seq } = message;
  if (is("members", message) && message.body.joined?.includes(user)) {
    const { left } = await span(rows, conversation);
    if (left > 0 && left < seq) {
      await begin(rows, conversation, seq);
      await rows.put("spans", conversation, { ...(await span(rows, conversation)), left: 0 });
    }
  }
  if (leaving(message).includes(user)) {
    const known = await span(rows, conversation);
    await rows.put("spans", conversation, { ...known, left: Math.max(seq, known.left) });
  }
}

function leaving(message: Of<"members"> | Of<"banned">): readonly string[] {
  if (is("members", message)) return message.body.left ?? [];
  return (message.body.on ?? true) ? message.body.users : [];
}

/** What is kept of a conversation before this SeqId may be out of date. */
export async function begin(rows: Rows, conversation: string, seq: number): Promise<void> {
  const known = await span(rows, conversation);
  await rows.put("spans", conversation, { ...known, begins: Math.max(seq, known.begins) });
}

async function span(rows: Rows, conversation: string): Promise<Span> {
  return (await rows.get<Span>("spans", conversation)) ?? { begins: 0, left: 0 };
}

/** What an edit says lives no longer than what it edits; an own edit's ack does not tell. */
async function limitEdits(rows: Rows, conversation: string, seq: number): Promise<void> {
  const target = await get(rows, conversation, seq);
  if (!target?.message.expires) return;
  for (const one of await noted(rows, conversation, seq)) {
    if (is("edited", one) && !one.expires) {
      const limited = { ...one, expires: target.message.expires };
      await put(rows, { message: limited, base: one.version });
    }
  }
}

// -- rows -----------------------------------------------------------------------------------------

function gone(message: Message): Row {
  return { message: bare(message), base: FINAL };
}

function get(rows: Rows, conversation: string, seq: number): Promise<Row | undefined> {
  return rows.get<Row>("messages", [conversation, seq]);
}

async function put(rows: Rows, row: Row): Promise<void> {
  const { conversation, seq, expires } = row.message;
  await rows.put("messages", [conversation, seq], row);
  if (expires) await rows.put("expiring", [expires, conversation, seq], true);
}

/** The messages that change this one, in their order. */
async function noted(rows: Rows, conversation: string, seq: number): Promise<Message[]> {
  const found: Message[] = [];
  for (const [key] of await rows.scan("notes", under(conversation, seq))) {
    const row = await get(rows, conversation, (key as [string, number, number])[2]);
    if (row) found.push(row.message);
  }
  return found;
}

// -- what a message says --------------------------------------------------------------------------

type Kind = "edited" | "recalled" | "reaction" | "hidden" | "members" | "banned";
type Of<K extends Kind> = Message & { readonly body: ControlBodies[K] };

const FIELDS: { readonly [K in Kind]: Readonly<Record<string, string>> } = {
  edited: { seq: "number", body: "object" },
  recalled: { seq: "number" },
  reaction: { seq: "number", emoji: "string" },
  hidden: { conversation: "string", seq: "number" },
  members: {},
  banned: { users: "object" },
};

/** Whether a message is a change of this kind, as far as this SDK understands it. */
function is<K extends Kind>(kind: K, message: Message): message is Of<K> {
  const fields = Object.entries(FIELDS[kind]);
  return (
    message.kind === kind && fields.every(([name, type]) => typeof message.body[name] === type)
  );
}

/** Whether a message rewrites an earlier one of its conversation. */
function rewrites(message: Message): boolean {
  return is("edited", message) || is("recalled", message) || is("reaction", message);
}
