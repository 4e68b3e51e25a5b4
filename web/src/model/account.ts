/** One user of this page: a device, what happens to it, and what the views show of it. */

import { batch, signal } from "@preact/signals";
import {
  type Client,
  connect,
  type Event,
  type Json,
  type Message,
  TimewireError,
} from "@timewire/client";
import { Conversations } from "./conversations";
import { control, isSaid } from "./messages";
import { Outbox } from "./outbox";
import { People } from "./people";
import { Pictures } from "./pictures";
import { Reads } from "./reads";
import { Timeline } from "./timeline";

/** Conversations that stay loaded after the user has left them. */
const MAX_TIMELINES = 8;
/** Marks of one conversation go out at most this often. */
const MARK_MS = 500;

/** How an account gets its tokens: one that was given, or the server's for a demo account. */
export interface Credentials {
  readonly user: string;
  readonly device: string;
  readonly token: string;
  readonly demo: boolean;
}

export type Link = "starting" | "offline" | "syncing" | "live" | "ended";

export class Account {
  readonly link = signal<Link>("starting");
  readonly fault = signal<TimewireError | undefined>(undefined);
  readonly client = signal<Client | undefined>(undefined);
  readonly #client = () => this.client.value;
  readonly user: string;
  readonly device: string;
  readonly conversations: Conversations;
  readonly outbox: Outbox;
  readonly people = new People(this.#client);
  readonly reads = new Reads(this.#client);
  readonly pictures = new Pictures(this.#client);
  /** The last message that came from somebody else, for whoever cannot see it come. */
  readonly heard = signal<Message | undefined>(undefined);
  /** The conversation that is shown; "" for none. */
  readonly shown = signal("");
  /** Whether this account is the one that is looked at. */
  readonly looked = signal(false);
  readonly timeline = signal<Timeline | undefined>(undefined);
  readonly #timelines = new Map<string, Timeline>();
  readonly #marks = new Map<string, number>();
  #closed = false;

  constructor(
    private readonly credentials: Credentials,
    private readonly tokens: () => string | Promise<string>,
  ) {
    this.user = credentials.user;
    this.device = credentials.device;
    this.conversations = new Conversations(this.user, this.#client);
    this.outbox = new Outbox(this.user);
  }

  /** Connect, and follow what happens until `close`. */
  async run(): Promise<void> {
    try {
      const { device, demo, token } = this.credentials;
      const client = await connect(location.origin, demo ? this.tokens : token, {
        device,
        store: storeOf(this.user),
      });
      if (this.#closed) return client.close();
      this.client.value = client;
      this.show(this.shown.value);
      await this.restore();
      this.#follow(client);
      for await (const event of client.events()) this.#happened(event);
    } catch (failure) {
      if (this.#closed) return;
      this.fault.value = failure instanceof TimewireError ? failure : undefined;
      this.link.value = "ended";
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.link.value = "ended";
    await this.client.value?.close();
    this.pictures.close();
    this.outbox.close();
  }

  /** Whether a conversation is the user's, as far as is known here. */
  has(conversation: string): boolean {
    const [kind, ...users] = conversation.split(":");
    if (kind === "direct" || kind === "self") return users.includes(this.user);
    return this.conversations.get(conversation) !== undefined;
  }

  // -- what the user does -------------------------------------------------------------------------

  /** Look at a conversation. */
  show(conversation: string): void {
    batch(() => {
      this.shown.value = conversation;
      this.timeline.value = this.#timelineOf(conversation);
    });
  }

  /** Send something; it is shown at once, and stored when the server says so. */
  send(
    conversation: string,
    kind: string,
    body: Json,
    options: { readonly reply?: number; readonly mentions?: readonly string[] } = {},
  ): void {
    const client = this.client.value;
    if (!client) return;
    const posted = client.post(conversation, body, { kind, ...given(options) });
    const { reply = 0, mentions = [] } = options;
    const time = Date.now();
    this.outbox.add({ id: posted.id, conversation, kind, body, reply, mentions, time });
  }

  /** The user has seen a conversation up to a SeqId. */
  read(conversation: string, seq: number): void {
    if (!this.conversations.read(conversation, seq)) return;
    const isQuiet = !this.#marks.has(conversation);
    this.#marks.set(conversation, seq);
    if (isQuiet) this.#mark(conversation, 0);
  }

  /** Say how far a conversation is read, and a little later how much farther. */
  #mark(conversation: string, said: number): void {
    const seq = this.#marks.get(conversation) ?? 0;
    if (seq <= said) return void this.#marks.delete(conversation);
    this.client.value?.markRead(conversation, seq);
    setTimeout(() => this.#mark(conversation, seq), MARK_MS);
  }

  // -- what happens -------------------------------------------------------------------------------

  /** Show what waits: from before a reload, or said in another tab. */
  async restore(): Promise<void> {
    for (const command of (await this.client.value?.pending()) ?? []) {
      if (command.type !== "send") continue;
      const { id, to: conversation, kind = "text", body, reply = 0, mentions = [], sent } = command;
      const time = sent ?? Date.now();
      this.outbox.add({ id, conversation, kind, body, reply, mentions, time });
    }
  }

  #follow(client: Client): void {
    this.link.value = client.state === "live" ? "live" : "offline";
    const live = () => this.#live();
    client.caughtUp().then(live, () => undefined);
    this.conversations.load().catch(() => undefined);
  }

  #live(): void {
    this.link.value = "live";
    this.conversations.reload();
    void this.people.loadBlocked(this.user).catch(() => undefined);
  }

  #happened(event: Event): void {
    switch (event.type) {
      case "received":
      case "acked":
        return this.#took(event.message);
      case "connected":
        this.link.value = "syncing";
        return;
      case "live":
        return this.#live();
      case "disconnected":
        this.link.value = "offline";
        return;
      case "typing":
        if (event.user !== this.user) this.people.heard(event);
        return;
      case "presence":
        return this.people.heard(event);
      case "refused":
        return this.outbox.refused(event.id, event.error);
      case "reset":
        return this.#reset();
    }
  }

  #took(message: Message): void {
    const { conversation } = message;
    const isShown = conversation === this.shown.value && this.looked.value && document.hasFocus();
    this.outbox.stored(message);
    this.people.stopped(conversation, message.from);
    this.#timelines.get(conversation)?.took(message);
    this.conversations.took(message, isShown);
    const read = control(message, "read");
    if (read) this.conversations.read(read.conversation, read.seq);
    const hidden = control(message, "hidden");
    if (hidden) this.#timelines.get(hidden.conversation)?.hide(hidden.seq);
    const blocked = control(message, "blocked");
    if (blocked) this.people.block(blocked.user, blocked.on ?? true);
    const isMembership = ["members", "role", "banned", "muted"].includes(message.kind);
    if (isMembership && this.people.rosters.value.has(conversation)) {
      void this.people.load(conversation).catch(() => undefined);
    }
    if (message.from !== this.user && isSaid(message)) this.heard.value = message;
  }

  /** What was loaded may have gaps: read it again. */
  #reset(): void {
    this.conversations.reload();
    for (const timeline of this.#timelines.values()) void timeline.open();
  }

  #timelineOf(conversation: string): Timeline | undefined {
    const client = this.client.value;
    if (!conversation || !client) return undefined;
    const known = this.#timelines.get(conversation);
    if (known) {
      this.#timelines.delete(conversation);
      this.#timelines.set(conversation, known);
      return known;
    }
    const made = new Timeline(conversation, client);
    this.#timelines.set(conversation, made);
    for (const name of this.#timelines.keys()) {
      if (this.#timelines.size > MAX_TIMELINES) this.#timelines.delete(name);
    }
    void made.open();
    return made;
  }
}

/** The name of the store of a user's device in this browser. */
export function storeOf(user: string): string {
  return `web:${user}`;
}

/** The options that say something. */
function given(options: { readonly reply?: number; readonly mentions?: readonly string[] }) {
  const { reply, mentions } = options;
  return { ...(reply ? { reply } : {}), ...(mentions?.length ? { mentions } : {}) };
}
