/** What messages are to a reader: which of them are rows, and what changes which. */

import type { ContentBodies, ControlBodies, Message } from "@timewire/client";

/** Messages that only change others, or are the user's own notes: no rows. */
const SILENT = new Set([
  "edited",
  "recalled",
  "reaction",
  "pinned",
  "read",
  "hidden",
  "blocked",
  "settings",
  "uploaded",
  "swept",
]);
const NOTICES = new Set(["created", "members", "updated", "role", "banned", "muted"]);

/** Whether a message is a row of its conversation. */
export function isRow(message: Message): boolean {
  return !SILENT.has(message.kind);
}

/** Whether a message is about its conversation rather than said by somebody. */
export function isNotice(message: Message): boolean {
  return NOTICES.has(message.kind);
}

/** Whether nothing is left of a message: it was recalled, or its life is over. */
export function isEmpty(message: Message): boolean {
  return message.kind === "" || isOver(message);
}

/** Whether somebody said it: it counts as unread, and speaks to people. */
export function isSaid(message: Message): boolean {
  return message.kind !== "" && isRow(message) && !isNotice(message);
}

function isOver(message: Message): boolean {
  return message.expires > 0 && message.expires <= Date.now();
}

/** The SeqId of the message that this one rewrites; 0 when it rewrites none. */
export function rewritten(message: Message): number {
  const changes = ["edited", "recalled", "reaction"].includes(message.kind);
  return changes && typeof message.body.seq === "number" ? message.body.seq : 0;
}

/** The body of a control message of this kind; undefined for any other. */
export function control<Kind extends keyof ControlBodies>(
  message: Message,
  kind: Kind,
): ControlBodies[Kind] | undefined {
  return message.kind === kind ? (message.body as unknown as ControlBodies[Kind]) : undefined;
}

/** A file in a message, however sure its sender is of its fields. */
export interface Attached {
  readonly media: string;
  readonly name: string;
  readonly type: string;
  readonly bytes: number;
  readonly width: number;
  readonly height: number;
}

/** The file that a message carries; undefined when it carries none. */
export function attached({ kind, body }: Message): Attached | undefined {
  if (!["image", "file", "audio", "video"].includes(kind)) return undefined;
  const { media, name, type, bytes } = body as ContentBodies["file"];
  if (typeof media !== "string") return undefined;
  return {
    media,
    name: typeof name === "string" ? name : "",
    type: typeof type === "string" ? type : "",
    bytes: natural(bytes),
    width: natural(body.width),
    height: natural(body.height),
  };
}

function natural(value: unknown): number {
  return typeof value === "number" && value > 0 ? value : 0;
}

/** The text of a message; empty when it has none. */
export function textOf({ body }: Pick<Message, "body">): string {
  return typeof body.text === "string" ? body.text : "";
}
