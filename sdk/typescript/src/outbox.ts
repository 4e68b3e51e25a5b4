/**
 * What a device has asked to be done and has no answer for yet: its commands, in order.
 *
 * A command is sent again, with the same id, on every new connection until it is answered; the
 * server does it once. So nothing here ever asks whether a lost connection had delivered it.
 */

import { error } from "./errors.js";
import { SELF } from "./names.js";
import { type Ack, type Command, type Json, type Message, message } from "./protocol.js";

export const MAX_OUTBOX_COMMANDS = 10_000;

/**
 * Commands from being queued to being answered. Each is waiting, or in flight on the present
 * connection. `paused`: the server has asked for a rest, so nothing leaves until `resume`.
 */
export class Outbox {
  paused = false;
  readonly #commands: Map<string, Command>;
  readonly #flying = new Set<string>();

  constructor(commands: readonly Command[]) {
    this.#commands = new Map(commands.map((command) => [command.id, command]));
  }

  get size(): number {
    return this.#commands.size;
  }

  has(id: string): boolean {
    return this.#commands.has(id);
  }

  /**
   * Queue a command. False: the same one is queued already. Throws `id_reused` for another one with
   * its id, `too_busy` when the outbox is full.
   */
  put(command: Command): boolean {
    const known = this.#commands.get(command.id);
    if (known) {
      if (!isSame(known, command)) throw error("id_reused", { id: command.id });
      return false;
    }
    if (this.size >= MAX_OUTBOX_COMMANDS) throw error("too_busy", { limit: MAX_OUTBOX_COMMANDS });
    this.#commands.set(command.id, command);
    return true;
  }

  /** Take commands to be sent now, so that at most `window` are in flight. */
  next(window: number): Command[] {
    const taken: Command[] = [];
    if (this.paused || this.#flying.size >= window || this.#flying.size === this.size) return taken;
    for (const [id, command] of this.#commands) {
      if (this.#flying.size >= window) break;
      if (this.#flying.has(id)) continue;
      this.#flying.add(id);
      taken.push(command);
    }
    return taken;
  }

  /** A command has its final answer: it leaves. Undefined when it is not known (any more). */
  settle(id: string): Command | undefined {
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    this.#flying.delete(id);
    return command;
  }

  /** The server cannot do this command now: it keeps its place, and all take a rest. */
  postpone(id: string): void {
    this.#flying.delete(id);
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  /** The connection is gone: everything goes again on the next one, in the same order. */
  restart(): void {
    this.#flying.clear();
    this.paused = false;
  }
}

/** The conversation that a command is about. */
export function concerns(user: string, command: Command): string {
  if (command.type === "send") return command.to;
  return "conversation" in command ? command.conversation : SELF + user;
}

/**
 * The message that a command has become, as all other devices receive it: the server pushes it to
 * every connection but the one that sent it.
 */
export function written(user: string, command: Command, ack: Ack): Message {
  const { id } = command;
  const place = { seq: ack.seq, time: ack.time, from: user, id };
  if (command.type === "send") {
    const { type: _, to, ack: __, ...said } = command;
    return message({ kind: "text", ...said, ...place, conversation: to });
  }
  const [kind, body] = changeOf(user, command);
  const own = OWN.includes(command.type);
  const conversation = own ? SELF + user : concerns(user, command);
  return message({ ...place, conversation, kind, body });
}

/** Commands that become messages in the user's own conversation. */
const OWN: readonly Command["type"][] = ["read", "hide", "block", "settings"];

type Group = "create" | "update" | "add" | "remove" | "ban" | "unban" | "link" | "join";
type Plain = Exclude<Command["type"], Group | "send">;

/** Commands whose fields are those of the message: its kind, and which. */
const KINDS: { readonly [Type in Plain]: readonly [kind: string, ...fields: string[]] } = {
  role: ["role", "user", "role"],
  mute: ["muted", "user", "until"],
  unlink: ["unlinked", "link"],
  edit: ["edited", "seq", "body"],
  recall: ["recalled", "seq"],
  react: ["reaction", "seq", "emoji", "on"],
  pin: ["pinned", "seq", "on"],
  hide: ["hidden", "conversation", "seq"],
  block: ["blocked", "user", "on"],
  read: ["read", "conversation", "seq"],
  settings: ["settings", "presence"],
};

/** The kind and the body of the message that a command becomes. */
function changeOf(user: string, command: Exclude<Command, { type: "send" }>): [string, Json] {
  switch (command.type) {
    case "create": {
      const members = once([user, ...(command.members ?? [])]);
      const { kind = "group", title, history, invite, mention_all } = command;
      const defaults = { title: "", history: "joined", invite: "members", mention_all: "members" };
      const settings = given({ title, history, invite, mention_all }, defaults);
      return ["created", { kind, members, ...settings }];
    }
    case "update": {
      const { title, history, invite, mention_all } = command;
      return ["updated", given({ title, history, invite, mention_all }, {})];
    }
    case "add":
      return ["members", { joined: once(command.users), left: [] }];
    case "remove":
      return ["members", { joined: [], left: once(command.users) }];
    case "join":
      return ["members", { joined: [user], left: [], link: command.link }];
    case "link": {
      const { link, role = "member", uses = 0, expires = 0 } = command;
      return ["linked", { link, role, uses, expires }];
    }
    case "ban":
    case "unban":
      return ["banned", { users: once(command.users), on: command.type === "ban" }];
    default: {
      const [kind, ...fields] = KINDS[command.type];
      const told: Json = { on: true, presence: "all", ...command };
      return [kind, Object.fromEntries(fields.map((field) => [field, told[field]]))];
    }
  }
}

function once(users: readonly string[]): string[] {
  return [...new Set(users)];
}

/** The fields that have a value other than their default. */
function given(fields: Json, defaults: Json): Json {
  const told = Object.entries(fields).filter(
    ([key, value]) => value != null && value !== defaults[key],
  );
  return Object.fromEntries(told);
}

/** Whether two JSON values say the same, in whatever order. */
export function isSame(one: unknown, other: unknown): boolean {
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return one === other;
  const keys = Object.keys(one);
  return (
    Array.isArray(one) === Array.isArray(other) &&
    keys.length === Object.keys(other).length &&
    keys.every(
      (key) => Object.hasOwn(other, key) && isSame((one as Json)[key], (other as Json)[key]),
    )
  );
}
