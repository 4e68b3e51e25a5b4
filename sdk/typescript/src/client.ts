/**
 * The SDK's face: one device of one user.
 *
 *     const me = await connect("https://chat.example.com", token, { device: "laptop" });
 *     await me.send(me.direct("bob"), "hello");
 *     for await (const event of me.events()) {
 *       if (event.type === "received") ...
 *     }
 */

import { Acts, Posted } from "./acts.js";
import { Backoff, type BackoffOptions, surroundings } from "./backoff.js";
import type { Core } from "./core.js";
import { type Audience, Driver, type DriverOptions } from "./driver.js";
import { error } from "./errors.js";
import type { Event } from "./events.js";
import { Feed } from "./feed.js";
import { download, upload } from "./files.js";
import { IndexedTables } from "./indexed.js";
import { dialer, httpUrl, type SocketClass, socketUrl } from "./link.js";
import { MemoryTables } from "./memory.js";
import { checkName, direct } from "./names.js";
import {
  type Command,
  type ConversationState,
  type DeviceState,
  type LinkState,
  MAX_WATCHED_USERS,
  type Media,
  type Message,
  type Search,
} from "./protocol.js";
import * as queries from "./queries.js";
import type { State } from "./session.js";
import { Store } from "./store.js";
import type { Tables } from "./tables.js";
import { Tabs } from "./tabs.js";
import { type TokenSource, Tokens } from "./tokens.js";

/** How long a device that does not know its user yet waits for the server. */
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * `device` names this installation: a user's devices have different names. `kind` says what sort of
 * device it is, such as `phone`: a server may allow one of a kind.
 *
 * `store`: the name of a database in this browser, one for each account: messages, the cursor and
 * what is queued outlive reloads, and the tabs that name the same one share a connection. Or tables
 * of your own, or a `MemoryTables`. Without one the device is new each time.
 *
 * `WebSocket`: where the runtime has none of its own (Node 20), that of the package `ws`.
 */
export interface ConnectOptions {
  readonly device: string;
  readonly kind?: string;
  readonly store?: string | Tables;
  readonly backoff?: BackoffOptions;
  readonly timeoutMs?: number;
  readonly WebSocket?: SocketClass;
}

/**
 * A device of the user whom the token names; `close` it in the end.
 *
 * `token` may be a function: it is called for the first token, and whenever the server wants another
 * one.
 *
 * Throws `bad_token` and the like; `not_connected` when there is no answer in time and the user is
 * not known from the store; `wrong_store` for the store of another device, `bad_config`.
 */
export async function connect(
  url: string,
  token: TokenSource,
  options: ConnectOptions,
): Promise<Client> {
  const address = socketUrl(url);
  const device = checkName(options.device);
  const Class = options.WebSocket ?? (globalThis.WebSocket as SocketClass | undefined);
  if (!Class) throw error("bad_config", {}, "there is no WebSocket here: give that of `ws`");
  const { store, kind } = options;
  const tables =
    typeof store === "string" ? await IndexedTables.open(store) : (store ?? new MemoryTables());
  const parts = { device, kind, tokens: new Tokens(token), dial: dialer(address, Class) };
  const shared = typeof store === "string" ? store : undefined;
  const backoff = new Backoff(options.backoff);
  const core = await start({ ...parts, backoff, store: new Store(tables) }, shared).catch(
    (fault) => {
      tables.close();
      throw fault;
    },
  );
  const client = new Client(core, device, httpUrl(url), parts.tokens);
  await client.known(options.timeoutMs ?? CONNECT_TIMEOUT_MS);
  return client;
}

type Parts = Omit<DriverOptions, "feed" | "surroundings" | "audience">;

async function start(parts: Parts, shared: string | undefined): Promise<Core> {
  const feed = new Feed();
  const all = { ...parts, feed, surroundings: surroundings() };
  const lead = (audience: Audience) => Driver.start({ ...all, audience });
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (shared !== undefined && locks && globalThis.BroadcastChannel) {
    return new Tabs({ ...all, name: shared, locks, lead });
  }
  return lead({ shown() {}, moved() {}, ended: (fault) => feed.finish(fault) });
}

/**
 * One device of one user; made by `connect`.
 *
 * What asks (`history`, `conversations` ...) waits for a connection.
 */
export class Client extends Acts {
  constructor(
    private readonly core: Core,
    readonly device: string,
    private readonly url: string,
    private readonly tokens: Tokens,
  ) {
    super();
  }

  /** Wait until the user is known; else close the device and throw. */
  async known(timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const give = () => reject(error("not_connected", { reason: this.core.trouble }));
      timer = setTimeout(give, timeoutMs);
    });
    try {
      await Promise.race([this.core.until(({ user }) => user !== ""), late]);
    } catch (fault) {
      await this.close();
      throw fault;
    } finally {
      clearTimeout(timer);
    }
  }

  // -- who and where ------------------------------------------------------------------------------

  get user(): string {
    return this.core.standing.user;
  }

  /** Where the device stands with the server now. */
  get state(): State {
    return this.core.standing.state;
  }

  /** How many commands have no answer yet. */
  get queued(): number {
    return this.core.standing.outbox;
  }

  /** The name of the direct conversation with a user; with oneself, one's own notes. */
  direct(user: string): string {
    return direct(this.user, user);
  }

  /**
   * What happens, from where the app has stopped reading. One reader at a time.
   *
   * An event counts as dealt with when the app asks for the next one. After a crash of the app, or
   * when it has left off in the middle of one, the last ones come again. Of several tabs the leading
   * one counts; the others get what happens from their opening on.
   *
   * An app that does not read its events for long (10,000 messages) is not synced further until it
   * does; nothing is lost. Ends when the device is closed; throws what else has ended it.
   */
  events(): AsyncIterableIterator<Event> {
    return this.core.feed;
  }

  /** Wait until the device has everything that there is now. */
  caughtUp(): Promise<void> {
    return this.core.until(({ state }) => state === "live");
  }

  /** Wait until all that is queued is answered. */
  flush(): Promise<void> {
    return this.core.until(({ outbox }) => outbox === 0);
  }

  /** End the connection. What is queued stays in the store, and goes out next time. */
  async close(): Promise<void> {
    await this.core.stop();
    this.core.store.close();
  }

  protected put(command: Command): Posted {
    // As the server will see it: what JSON cannot say is refused, or left out, before it is kept.
    const said = JSON.parse(JSON.stringify(command)) as Command;
    return new Posted(said.id, this.core.put(said));
  }

  // -- signals ------------------------------------------------------------------------------------

  /** Let the others see that the user is typing: call it with every key. */
  typing(conversation: string): void {
    this.core.tell({ type: "typing", conversation });
  }

  /**
   * Have `presence` events of these users, first how things stand, then every change. They replace
   * those watched before; nobody ends it. Throws `bad_name`, `too_many_watched`.
   */
  watch(users: readonly string[]): void {
    const names = [...new Set(users)].map(checkName);
    if (names.length > MAX_WATCHED_USERS) {
      throw error("too_many_watched", { limit: MAX_WATCHED_USERS });
    }
    this.core.tell({ type: "watch", users: names });
  }

  // -- reading ------------------------------------------------------------------------------------

  readonly #asking: queries.Ask = (query) => this.core.ask(query);

  /**
   * A page of messages: past `after`, oldest first, or below `before`, newest first. With neither:
   * the newest.
   */
  history(
    conversation: string,
    { limit, ...where }: queries.Where & { readonly limit?: number } = {},
  ): Promise<queries.HistorySlice> {
    return queries.history(this.#asking, conversation, where, limit);
  }

  /** All messages past `after`, oldest first, or below `before` (or all), newest first. */
  scroll(conversation: string, where: queries.Where = {}): AsyncGenerator<Message, void> {
    return queries.scroll(this.#asking, conversation, where);
  }

  /** The user's conversations, by name, with last message and unread count. */
  conversations(): Promise<ConversationState[]> {
    return queries.all(queries.conversations(this.#asking));
  }

  /** The names of the present members of a conversation, sorted. */
  async members(conversation: string): Promise<string[]> {
    return (await this.roster(conversation)).map(({ name }) => name);
  }

  /** The present members of a conversation, by name, with their roles. */
  roster(conversation: string): Promise<queries.Member[]> {
    return queries.all(queries.members(this.#asking, conversation));
  }

  /**
   * Who may not be a member of a group that one is an owner or admin of, by name. Of one's own
   * conversation (`self:`): whom one blocks.
   */
  banned(conversation: string): Promise<string[]> {
    return queries.all(queries.bans(this.#asking, conversation));
  }

  /** The invite links of a group that one is an owner or admin of; their tokens are nowhere. */
  links(group: string): Promise<LinkState[]> {
    return queries.all(queries.links(this.#asking, group));
  }

  /** Who has read a message, beside its author. Not told in groups of more than 500. */
  readBy(conversation: string, seq: number): Promise<string[]> {
    return queries.all(queries.readers(this.#asking, conversation, seq));
  }

  /** The user's devices, by name. */
  devices(): Promise<readonly DeviceState[]> {
    return queries.devices(this.#asking, { type: "devices" });
  }

  /** Log out one of the user's devices: its tokens are void from now on. Those that are left. */
  logOut(device: string): Promise<readonly DeviceState[]> {
    return queries.devices(this.#asking, { type: "log_out", device });
  }

  /** Messages that the user may read and that have these words: a page, and how to go on. */
  search(
    text: string,
    options: Omit<Search, "type" | "id" | "text"> = {},
  ): Promise<queries.SearchSlice> {
    return queries.search(this.#asking, { text, ...options });
  }

  // -- media --------------------------------------------------------------------------------------

  /** Upload a file, for messages that refer to it by `media`. It needs a connection. */
  upload(file: Blob, type = ""): Promise<Media> {
    return upload(this.url, this.tokens, file, type);
  }

  /** A file that the user may see; with `size` (64 to 1024 pixels) a thumbnail of an image. */
  download(media: string, options: { readonly size?: number } = {}): Promise<Blob> {
    return download(this.url, this.tokens, media, options.size);
  }

  // -- what this device has -----------------------------------------------------------------------

  /**
   * Messages that this device has, received or sent, newest first, as later ones have left them:
   * edited, recalled, with reactions. Works offline.
   */
  kept(
    conversation: string,
    options: { readonly before?: number; readonly limit?: number } = {},
  ): Promise<Message[]> {
    return this.core.store.messages(conversation, options);
  }

  /** What is queued and has no answer yet, oldest first: also what was queued before a reload. */
  pending(): Promise<readonly Command[]> {
    return this.core.store.outbox();
  }

  /** How far the user has read, on any device, as far as this one knows. */
  readMark(conversation: string): Promise<number> {
    return this.core.store.mark(conversation);
  }
}
