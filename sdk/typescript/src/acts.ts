/** What a user can do from a device: everything that the server answers with a receipt. */

import { checkId, linkOf, newId } from "./names.js";
import type {
  Ack,
  AckLevel,
  Command,
  Create,
  Json,
  MakeLink,
  Message,
  Role,
  Update,
  Visibility,
} from "./protocol.js";

/** A message is on stable storage: its id, its SeqId, and its time in ms. */
export interface Sent {
  readonly id: string;
  readonly seq: number;
  readonly time: number;
}

/** An invite to a group: the name of its link, and the token to hand on. */
export interface Invite {
  readonly group: string;
  readonly link: string;
  readonly token: string;
}

/** A message on its way. Await it for its receipt, once or often, or let it go. */
export class Posted implements PromiseLike<Sent> {
  readonly #sent: Promise<Sent>;

  constructor(
    readonly id: string,
    ack: Promise<Ack>,
  ) {
    this.#sent = ack.then(({ seq, time }) => ({ id, seq, time }));
    // A refusal that nobody waits for is told by an event.
    this.#sent.catch(() => undefined);
  }

  // biome-ignore lint/suspicious/noThenProperty: it is meant to be awaited
  then<One = Sent, Other = never>(
    kept?: ((sent: Sent) => One | PromiseLike<One>) | null,
    refused?: ((fault: unknown) => Other | PromiseLike<Other>) | null,
  ): Promise<One | Other> {
    return this.#sent.then(kept, refused);
  }
}

/**
 * What can be said of a message. An `id` of one's own makes it safe to send again after a crash of
 * the app: the same id is one message for ever. `ack: "synced"` waits until it is in every
 * receiver's inbox. `reply`: the SeqId of the message that it answers. `mentions`: members it speaks
 * to, `*` for all. `expires`: when nothing is to be left of it (ms). `forward`: the message that is
 * passed on with it.
 */
export interface SendOptions {
  readonly kind?: string;
  readonly id?: string;
  readonly ack?: AckLevel;
  readonly reply?: number;
  readonly mentions?: readonly string[];
  readonly expires?: number;
  readonly forward?: Message;
}

type Act = Command extends infer One ? (One extends Command ? Omit<One, "id"> : never) : never;
type Settings<Of> = Omit<Of, "type" | "id" | "conversation" | "members" | "link">;

/**
 * Each act is queued in the order of the calls, goes out when there is a connection, and is done
 * once however often connections break. Awaiting it means waiting for the server's ack. It throws
 * why the server refuses it, or what has ended the device.
 */
export abstract class Acts {
  #sent = 0;

  /** The user whose device this is. */
  abstract get user(): string;

  protected abstract put(command: Command): Posted;

  #act(act: Act): Posted {
    return this.put({ ...act, id: newId() });
  }

  // -- messages -----------------------------------------------------------------------------------

  /** Send a message (a text, or any JSON object) to a conversation, and wait for its receipt. */
  async send(to: string, body: string | Json, options: SendOptions = {}): Promise<Sent> {
    return this.post(to, body, options);
  }

  /** Queue a message, as `send` does, without waiting. Throws `bad_id`. */
  post(to: string, body: string | Json, options: SendOptions = {}): Posted {
    const { id, forward, ...said } = options;
    // Without a time of its own, with an id: a repeat must be the same to the last byte.
    if (id === undefined) this.#sent = Math.max(this.#sent + 1, Date.now());
    return this.put({
      type: "send",
      id: id === undefined ? newId() : checkId(id),
      to,
      body: content(body),
      ...(id === undefined ? { sent: this.#sent } : {}),
      ...said,
      ...(forward ? { forward: place(forward) } : {}),
    });
  }

  /** Have a message of one's own say something else. */
  edit(conversation: string, seq: number, body: string | Json): Posted {
    return this.#act({ type: "edit", conversation, seq, body: content(body) });
  }

  /** Take back what a message said, for ever: one's own; as an admin of the group, any. */
  recall(conversation: string, seq: number): Posted {
    return this.#act({ type: "recall", conversation, seq });
  }

  /** Put an emoji to a message, or take one's own back. */
  react(conversation: string, seq: number, emoji: string, on = true): Posted {
    return this.#act({ type: "react", conversation, seq, emoji, on });
  }

  /** Keep a message in sight for everybody, or no longer. */
  pin(conversation: string, seq: number, on = true): Posted {
    return this.#act({ type: "pin", conversation, seq, on });
  }

  /** Delete a message for oneself, on all of one's devices. */
  hide(conversation: string, seq: number): Posted {
    return this.#act({ type: "hide", conversation, seq });
  }

  /** Note, for all devices of the user, that a conversation is read up to a SeqId. */
  markRead(conversation: string, seq: number): Posted {
    return this.#act({ type: "read", conversation, seq });
  }

  // -- groups and users ---------------------------------------------------------------------------

  /** Make a group, with oneself, its owner, and others as its first members. */
  create(group: string, members: readonly string[] = [], settings: Settings<Create> = {}): Posted {
    return this.#act({ type: "create", conversation: group, members, ...settings });
  }

  /** Give a group another title or setting; what is left out stays. */
  update(group: string, settings: Settings<Update>): Posted {
    return this.#act({ type: "update", conversation: group, ...settings });
  }

  /** Add members to a group that one is a member of. */
  add(group: string, users: readonly string[]): Posted {
    return this.#act({ type: "add", conversation: group, users });
  }

  /** Come into a room, or follow a channel. */
  join(group: string): Posted {
    return this.add(group, [this.user]);
  }

  /** Come into a group by the token of an invite. */
  async joinBy(group: string, token: string): Promise<Sent> {
    return await this.#act({ type: "join", conversation: group, link: await linkOf(token), token });
  }

  /**
   * Make an invite link, as an owner or admin: who has its token can join. Nobody else is told the
   * token, and it is kept nowhere. Left out: for members, for any number of them, for ever.
   */
  async invite(group: string, options: Settings<MakeLink> = {}): Promise<Invite> {
    const token = newId();
    const link = await linkOf(token);
    await this.#act({ ...options, type: "link", conversation: group, link });
    return { group, link, token };
  }

  /** Let nobody come by an invite link any more. */
  uninvite(group: string, link: string): Posted {
    return this.#act({ type: "unlink", conversation: group, link });
  }

  /** Remove members from a group that one is an owner or admin of. */
  remove(group: string, users: readonly string[]): Posted {
    return this.#act({ type: "remove", conversation: group, users });
  }

  /** Leave a group. What was said until then stays readable. */
  leave(group: string): Posted {
    return this.remove(group, [this.user]);
  }

  /** Give a member another role, as an owner. */
  role(group: string, user: string, role: Role): Posted {
    return this.#act({ type: "role", conversation: group, user, role });
  }

  /** Remove users from a group and have them stay out; or let them in again. */
  ban(group: string, users: readonly string[], on = true): Posted {
    return this.#act({ type: on ? "ban" : "unban", conversation: group, users });
  }

  /** Let a member say nothing until a time (ms); 0 lifts it. */
  mute(group: string, user: string, until: number): Posted {
    return this.#act({ type: "mute", conversation: group, user, until });
  }

  /** Take no messages from a user in the direct conversation, or take them again. */
  block(user: string, on = true): Posted {
    return this.#act({ type: "block", user, on });
  }

  /** Say who may see whether the user is online; it holds for all devices. */
  showPresence(to: Visibility): Posted {
    return this.#act({ type: "settings", presence: to });
  }
}

function content(body: string | Json): Json {
  return typeof body === "string" ? { text: body } : body;
}

function place({ conversation, seq, from }: Message) {
  return { conversation, seq, from };
}
