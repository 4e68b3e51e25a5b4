// Made by scripts/typescript_types.py from the server's own definitions. Do not edit.

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

export const SUBPROTOCOL = "timewire.json.v1";
export const MAX_WATCHED_USERS = 500;

/** Why a connection ends: 40xx come back, 41xx with another token, 42xx do not. */
export const CloseCode = {
  SHUTTING_DOWN: 4000,
  HELLO_TIMEOUT: 4001,
  SILENT: 4002,
  FAULT: 4003,
  BAD_TOKEN: 4100,
  TOKEN_EXPIRED: 4101,
  TOKEN_REVOKED: 4102,
  REPLACED: 4200,
  VIOLATION: 4201,
  LOGGED_OUT: 4202,
  DISPLACED: 4203,
  TOO_MANY_DEVICES: 4204,
} as const;

/** Codes of errors, by what can be done about them; all others are `invalid`. */
export const ERROR_KINDS = {
  forbidden:
    "bad_token token_expired token_revoked logged_out displaced too_many_devices bad_device replaced bad_origin bad_admin_key missing_scope not_member not_admin not_owner not_author too_late muted blocked banned link_expired link_used_up refused",
  not_found:
    "unknown_device unknown_conversation unknown_message unknown_link unknown_member search_off unknown_endpoint unknown_key unknown_path unknown_media",
  retryable:
    "rate_limited too_many_connections too_busy out_of_turn search_behind hook_failed storage_unavailable cluster_unavailable shutting_down not_connected",
  unknown_outcome:
    "outcome_unknown server_fault",
  damaged:
    "damaged",
  unusable:
    "directory_in_use wrong_store bad_config closed",
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS | "invalid";

/** What to do about errors that this SDK raises itself. */
export const ADVICE: Readonly<Record<string, string>> = {
  bad_id:
    "an id is 1 to 128 bytes of UTF-8 without control characters",
  bad_name:
    "a name is 1 to 128 bytes of UTF-8 without control characters, spaces, ':' or '/'",
  wrong_store:
    "this store is another user's or another device's; every device needs one of its own",
};

export type GroupKind = "group" | "room" | "channel";
export type ConversationKind = "direct" | "self" | "group" | "room" | "channel";
export type Visibility = "all" | "nobody";
export type Role = "owner" | "admin" | "member";
export type LinkRole = "admin" | "member";
export type History = "joined" | "all";
export type Inviters = "members" | "admins";
export type Order = "newest" | "oldest" | "best";
export type Match = "all" | "any";
export type AckLevel = "stored" | "synced";
export type ResetReason = "garbage" | "other_user" | "other_log" | "future" | "expired";
export type WhyEmpty = "before_joining" | "after_leaving";
export type Advice = "reconnect" | "renew" | "stop";

/**
 * First frame.  Without a cursor the device is new and starts at the head, without replay.
 *
 * `credit`: how many pages the server may send before it waits for `credit` frames.
 * `kind`: what sort of device it is, such as `phone`; a server may allow one of a kind.
 */
export interface Hello {
  readonly type: "hello";
  readonly token: string;
  readonly device: string;
  readonly cursor?: Cursor | null;
  readonly credit?: number;
  readonly kind?: string;
}

/** The device has stored this many pages; the server may send as many more. */
export interface Credit {
  readonly type: "credit";
  readonly pages?: number;
}

/**
 * A message.  Repeat it with the same `id` until it is acked: it will be there once.
 *
 * `to` is a conversation; a `direct:` one comes into being by its first message.  `sent` is
 * the device's own logical time (any growing number).  `ack`: when to answer, once the message
 * is stored, or once it is also in every inbox (synced).
 *
 * `reply`: the message of this conversation that it answers.  `mentions`: members it speaks
 * to, `*` for all.  `expires`: after this time nothing is left of it but its place.
 * `forward`: where it comes from, when it is passed on; one has to be able to read that.
 */
export interface Send {
  readonly type: "send";
  readonly id: string;
  readonly to: string;
  readonly body: Json;
  readonly kind?: string;
  readonly sent?: number;
  readonly ack?: AckLevel;
  readonly reply?: number;
  readonly mentions?: readonly string[];
  readonly expires?: number;
  readonly forward?: Forward | null;
}

/**
 * Make a group with its first members; the maker is one, and owns it.
 *
 * `kind`: a `room` is for live comments, which are pushed to who is there and come into no
 * inbox; in a `channel` owners and admins post, and followers read.  `history`: what members
 * may read, from their joining on or all of it.  `invite`: who may add members to a group; in
 * rooms and channels, whether anybody may join.  `mention_all`: who may mention everybody.
 */
export interface Create {
  readonly type: "create";
  readonly id: string;
  readonly conversation: string;
  readonly members?: readonly string[];
  readonly title?: string;
  readonly history?: History;
  readonly invite?: Inviters;
  readonly kind?: GroupKind;
  readonly mention_all?: Inviters;
}

/** Give a group another title or setting; what is left out stays.  For owners and admins. */
export interface Update {
  readonly type: "update";
  readonly id: string;
  readonly conversation: string;
  readonly title?: string | null;
  readonly history?: History | null;
  readonly invite?: Inviters | null;
  readonly mention_all?: Inviters | null;
}

/**
 * Add members to a group.  Whether members may, or only admins, is its `invite` setting.
 *
 * Adding oneself is joining: rooms and channels let everybody, unless only admins add members.
 * There others are added by admins alone.
 */
export interface Add {
  readonly type: "add";
  readonly id: string;
  readonly conversation: string;
  readonly users: readonly string[];
}

/**
 * Remove members from a group, for owners and admins; removing oneself is leaving.
 *
 * The last owner cannot leave while there are other members.
 */
export interface Remove {
  readonly type: "remove";
  readonly id: string;
  readonly conversation: string;
  readonly users: readonly string[];
}

/** Give a member another role.  For owners; one owner has to stay. */
export interface Appoint {
  readonly type: "role";
  readonly id: string;
  readonly conversation: string;
  readonly user: string;
  readonly role: Role;
}

/** Remove users from a group, and have them stay out.  For owners and admins. */
export interface Ban {
  readonly type: "ban";
  readonly id: string;
  readonly conversation: string;
  readonly users: readonly string[];
}

/** Banned users may be added again.  For owners and admins. */
export interface Unban {
  readonly type: "unban";
  readonly id: string;
  readonly conversation: string;
  readonly users: readonly string[];
}

/** A member may not say anything until a time; 0 lifts it.  For owners and admins. */
export interface Mute {
  readonly type: "mute";
  readonly id: string;
  readonly conversation: string;
  readonly user: string;
  readonly until: number;
}

/**
 * Make an invite link: who knows its token can `join`.  For owners and admins.
 *
 * `link` is the SHA-256 of the token, in hex: the server sees the token when somebody joins by
 * it, and keeps it nowhere.  It should hold 128 bits of chance.  `role`: what one becomes by the
 * link; only owners can let in admins.  `uses`: how many may come by it, 0 for any number.
 * `expires`: until when, 0 for ever.
 */
export interface MakeLink {
  readonly type: "link";
  readonly id: string;
  readonly conversation: string;
  readonly link: string;
  readonly role?: LinkRole;
  readonly uses?: number;
  readonly expires?: number;
}

/** Let nobody join by an invite link any more.  For owners and admins. */
export interface EndLink {
  readonly type: "unlink";
  readonly id: string;
  readonly conversation: string;
  readonly link: string;
}

/**
 * Join a group by an invite link: its name and its token.
 *
 * Whoever is a member already stays one, and it counts as no use.
 */
export interface Join {
  readonly type: "join";
  readonly id: string;
  readonly conversation: string;
  readonly link: string;
  readonly token: string;
}

/**
 * Have a message of one's own say something else, within `edit_minutes`.
 *
 * The message itself changes, and who has it already is told by an `edited` message.
 */
export interface Edit {
  readonly type: "edit";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
  readonly body: Json;
}

/**
 * Take back what a message said, for ever, and what its edits said; its place stays.
 *
 * One's own within `edit_minutes`; owners and admins of a group any, at any time.
 */
export interface Recall {
  readonly type: "recall";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
}

/** Put an emoji to a message, or take one's own back. */
export interface React {
  readonly type: "react";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
  readonly emoji: string;
  readonly on?: boolean;
}

/** Keep a message in sight, or no longer.  In groups for owners and admins. */
export interface Pin {
  readonly type: "pin";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
  readonly on?: boolean;
}

/** The user has read the conversation up to a SeqId. */
export interface MarkRead {
  readonly type: "read";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
}

/** Delete a message for oneself, on all of one's devices.  Nobody else notices. */
export interface Hide {
  readonly type: "hide";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
}

/** Take no messages from a user in the direct conversation, or take them again. */
export interface Block {
  readonly type: "block";
  readonly id: string;
  readonly user: string;
  readonly on?: boolean;
}

/** Set what holds for oneself.  `presence`: who may see whether one is online. */
export interface PutSettings {
  readonly type: "settings";
  readonly id: string;
  readonly presence?: Visibility;
}

/**
 * Messages of a conversation, oldest first past `after` or newest first below `before`.
 *
 * With neither: the newest.  Answer: `history_page`.
 */
export interface GetHistory {
  readonly type: "history";
  readonly id: string;
  readonly conversation: string;
  readonly after?: number | null;
  readonly before?: number | null;
  readonly limit?: number;
}

/** The user's conversations, by name, past `after`.  Answer: `conversation_page`. */
export interface ListConversations {
  readonly type: "conversations";
  readonly id: string;
  readonly after?: string;
  readonly limit?: number;
}

/** The present members of a conversation, by name, past `after`.  Answer: `member_page`. */
export interface ListMembers {
  readonly type: "members";
  readonly id: string;
  readonly conversation: string;
  readonly after?: string;
  readonly limit?: number;
}

/**
 * Who may not be a member of a group, by name, past `after`.  For owners and admins.
 *
 * Of one's own conversation: whom one blocks.  Answer: `ban_page`.
 */
export interface ListBans {
  readonly type: "bans";
  readonly id: string;
  readonly conversation: string;
  readonly after?: string;
  readonly limit?: number;
}

/**
 * The invite links of a group, by name, past `after`.  For owners and admins.
 *
 * Answer: `link_page`.
 */
export interface ListLinks {
  readonly type: "links";
  readonly id: string;
  readonly conversation: string;
  readonly after?: string;
  readonly limit?: number;
}

/**
 * Which members, by name, past `after`, have read a message, beside its author.
 *
 * For direct conversations and for groups of at most 500.  Answer: `reader_page`.
 */
export interface ReadBy {
  readonly type: "read_by";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
  readonly after?: string;
  readonly limit?: number;
}

/**
 * Messages that one may read, by words and fields.  Answer: `search_page`.
 *
 * `text`: words, "phrases in quotation marks", beginn*, -not; empty with a field to go by.
 * `match`: all of them, or any.  `conversation`, `from`, `kind`: only there, only by,
 * only these.  `since` (included), `until` (not included): the message's time.  `media`:
 * only what carries a file.  `mentioned`: only what speaks to oneself.
 *
 * `page`: the `next` of the page before, with everything else but `limit` the same.
 * `wait_for`: first wait until this SeqId can be found.  Unknown keys are refused: a filter
 * that is not known cannot be ignored.
 */
export interface Search {
  readonly type: "search";
  readonly id: string;
  readonly text?: string;
  readonly match?: Match;
  readonly conversation?: string;
  readonly from?: string;
  readonly kind?: string;
  readonly since?: number | null;
  readonly until?: number | null;
  readonly media?: boolean;
  readonly mentioned?: boolean;
  readonly order?: Order;
  readonly limit?: number;
  readonly page?: string;
  readonly wait_for?: number;
}

/** The user's own devices, by name.  Answer: `device_page`. */
export interface ListDevices {
  readonly type: "devices";
  readonly id: string;
}

/**
 * Log out one of the user's own devices: its connection ends (4202), its tokens are void.
 *
 * It can come back with a token issued later.  Answer: `device_page`, without it.
 */
export interface LogOut {
  readonly type: "log_out";
  readonly id: string;
  readonly device: string;
}

/**
 * Be told when these users come and go, in place of those watched before; at most 500.
 *
 * It holds for this connection.  Answer: `watching`, then `presence` with every change.
 */
export interface Watch {
  readonly type: "watch";
  readonly id: string;
  readonly users: readonly string[];
}

/** The user is typing.  Say it with each key: what is too much is dropped.  No answer. */
export interface Typing {
  readonly type: "typing";
  readonly conversation: string;
}

/**
 * A newer token of the same user, before the one in use expires.  Answer: `renewed`.
 *
 * The connection ends with the token; a refused one changes nothing.
 */
export interface Renew {
  readonly type: "renew";
  readonly id: string;
  readonly token: string;
}

/** Is anybody there?  Answer: `pong`. */
export interface Ping {
  readonly type: "ping";
  readonly id?: string;
}

/**
 * Where a device stands.  Opaque: keep both texts, in one transaction with the messages.
 *
 * `base` comes with `welcome` and `reset` and says whose inbox of which log; `pos` comes
 * with every frame that moves the device on.
 */
export interface Cursor {
  readonly base: string;
  readonly pos: string;
}

/** Where a message that is passed on was said first, and by whom. */
export interface Forward {
  readonly conversation: string;
  readonly seq: number;
  readonly from: string;
}

/**
 * Answer to `hello`: who one is, the cursor's base, and where one stands.
 *
 * `pos` is the position of the cursor given, or of the head for a new device.  `expires`:
 * when the token does, and the connection with it, in ms like `time`.
 */
export interface Welcome {
  readonly type: "welcome";
  readonly user: string;
  readonly device: string;
  readonly session: string;
  readonly base: string;
  readonly pos: string;
  readonly time: number;
  readonly limits: Limits;
  readonly version: number;
  readonly expires: number;
}

/** Missed messages, oldest first; `pos` moves over them.  Costs one credit. */
export interface SyncPage {
  readonly type: "page";
  readonly messages: readonly Message[];
  readonly pos: string;
  readonly has_more: boolean;
}

/** Nothing is missing up to `pos`; from here on every message is pushed, in order. */
export interface Live {
  readonly type: "live";
  readonly pos: string;
}

/** A new message.  `pos` moves over it. */
export interface Push {
  readonly type: "push";
  readonly pos: string;
  readonly message: Message;
}

/** Nothing more, up to `pos`: sent now and then to keep a quiet device's cursor young. */
export interface At {
  readonly type: "at";
  readonly pos: string;
}

/** The device reads too slowly; pushes stop and pages follow again, from what it has. */
export interface Behind {
  readonly type: "behind";
  readonly pos: string;
}

/** The cursor cannot be served.  Rebuild from conversations and history; go on from `pos`. */
export interface Reset {
  readonly type: "reset";
  readonly reason: ResetReason;
  readonly base: string;
  readonly pos: string;
}

/** The message is on stable storage as `seq`, for every repeat of `id` the same. */
export interface Ack {
  readonly type: "ack";
  readonly id: string;
  readonly seq: number;
  readonly time: number;
  readonly synced: boolean;
}

/** What was asked for (`id`, if known) was refused.  `retry`: it may succeed later. */
export interface Problem {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly id: string;
  readonly retry: boolean;
  readonly fields: Json;
}

/**
 * Answer to `history`, in the order asked for.  `has_more`: in that direction.
 *
 * `why`: there are messages, but one may not read them.
 */
export interface HistoryPage {
  readonly type: "history_page";
  readonly id: string;
  readonly conversation: string;
  readonly messages: readonly Message[];
  readonly has_more: boolean;
  readonly why: WhyEmpty | null;
}

/** Answer to `conversations`.  Resume with `after` = the last name. */
export interface ConversationPage {
  readonly type: "conversation_page";
  readonly id: string;
  readonly conversations: readonly ConversationState[];
  readonly has_more: boolean;
}

/**
 * Answer to `members`.  Resume with `after` = the last name.
 *
 * `roles`: of the owners and admins among them.  `muted`: who may not speak, until when.
 */
export interface MemberPage {
  readonly type: "member_page";
  readonly id: string;
  readonly conversation: string;
  readonly members: readonly string[];
  readonly has_more: boolean;
  readonly roles: Readonly<Record<string, Role>>;
  readonly muted: Readonly<Record<string, number>>;
}

/** Answer to `bans`.  Resume with `after` = the last name. */
export interface BanPage {
  readonly type: "ban_page";
  readonly id: string;
  readonly conversation: string;
  readonly users: readonly string[];
  readonly has_more: boolean;
}

/** Answer to `links`.  Resume with `after` = the last name. */
export interface LinkPage {
  readonly type: "link_page";
  readonly id: string;
  readonly conversation: string;
  readonly links: readonly LinkState[];
  readonly has_more: boolean;
}

/** Answer to `read_by`.  Resume with `after` = the last name. */
export interface ReaderPage {
  readonly type: "reader_page";
  readonly id: string;
  readonly conversation: string;
  readonly seq: number;
  readonly readers: readonly string[];
  readonly has_more: boolean;
}

/**
 * Answer to `search`, in the order asked for.
 *
 * `next`: give it as `page` to go on; empty when there is nothing more.  A page may hold fewer
 * than asked for, and there may be more.  `watermark`: everything up to this SeqId was searched.
 */
export interface SearchPage {
  readonly type: "search_page";
  readonly id: string;
  readonly hits: readonly SearchHit[];
  readonly watermark: number;
  readonly next: string;
}

/** Answer to `devices` and `log_out`. */
export interface DevicePage {
  readonly type: "device_page";
  readonly id: string;
  readonly devices: readonly DeviceState[];
}

/**
 * A user that is watched is online now, or no longer: then `seen` says since when (ms).
 *
 * `seen` is 0 where it is not known or not for this watcher.
 */
export interface Presence {
  readonly type: "presence";
  readonly user: string;
  readonly online: boolean;
  readonly seen: number;
}

/** Answer to `watch`: how things stand.  Who does not exist, or hides, is offline for ever. */
export interface Watching {
  readonly type: "watching";
  readonly id: string;
  readonly users: readonly Presence[];
}

/** A member of the conversation is typing.  Forget it after some seconds without another. */
export interface SomeoneTyping {
  readonly type: "typing";
  readonly conversation: string;
  readonly user: string;
}

/** Answer to `renew`: the connection may last until `expires`; now is `time`, in ms. */
export interface Renewed {
  readonly type: "renewed";
  readonly id: string;
  readonly expires: number;
  readonly time: number;
}

/** Answer to `ping`. */
export interface Pong {
  readonly type: "pong";
  readonly id: string;
  readonly time: number;
}

/**
 * A message as clients see it.
 *
 * `sent` is the client's logical time (0 = not given).  `reply`: the SeqId of the message that
 * it answers.  `mentions`: the users it speaks to, `*` for all.  `forward`: where it comes
 * from.  `expires`: after this time (ms) nothing is left of it but its place.
 *
 * What has become of it: `version` is the SeqId of the newest change that it shows; `edited`
 * when it was edited last (ms), `edits` the SeqIds of its edits; `reactions` who has put which
 * emoji to it, by name.
 *
 * A redacted message has neither body nor sender's id left: kind "" and body `{}`.  So has one
 * that is `damaged`: the server has it and cannot read it, for now or for ever.
 */
export interface Message {
  readonly conversation: string;
  readonly seq: number;
  readonly time: number;
  readonly from: string;
  readonly id: string;
  readonly kind: string;
  readonly body: Json;
  readonly sent: number;
  readonly reply: number;
  readonly mentions: readonly string[];
  readonly forward: Forward | null;
  readonly expires: number;
  readonly version: number;
  readonly edited: number;
  readonly edits: readonly number[];
  readonly reactions: Readonly<Record<string, readonly string[]>>;
  readonly damaged: boolean;
}

/**
 * An uploaded file.  Messages refer to it by `media`, the SHA-256 of its content in hex.
 *
 * `bytes`: its size.  `type`: its media type.  `width`, `height`: of an image, in pixels,
 * as it is shown.
 */
export interface Media {
  readonly media: string;
  readonly bytes: number;
  readonly type: string;
  readonly width: number;
  readonly height: number;
}

/**
 * What the server takes: larger is refused, never cut.
 *
 * `..._per_second`: what this device may do; 0: any number.  Other devices of the same user and
 * others at the same address may use it up.
 */
export interface Limits {
  readonly frame_bytes: number;
  readonly body_bytes: number;
  readonly page_entries: number;
  readonly sends_in_flight: number;
  readonly frames_per_second: number;
  readonly bytes_per_second: number;
  readonly sends_per_second: number;
  readonly conversation_sends_per_second: number;
}

/**
 * A conversation as its member sees it.
 *
 * `unread` does not count one's own messages; `mentioned`: how many of them speak to one.
 * `pins`: SeqIds of pinned messages.  `muted`: one may not say anything until then.  In rooms
 * nothing is counted.  `presence`: in one's own conversation, who may see whether one is online.
 */
export interface ConversationState {
  readonly conversation: string;
  readonly kind: ConversationKind;
  readonly title: string;
  readonly member: boolean;
  readonly read: number;
  readonly unread: number;
  readonly last: Message | null;
  readonly mentioned: number;
  readonly role: Role;
  readonly history: History;
  readonly invite: Inviters;
  readonly pins: readonly number[];
  readonly muted: number;
  readonly mention_all: Inviters;
  readonly presence: Visibility;
}

/**
 * An invite link: its name, what one becomes by it, how many may come, and how many have.
 *
 * `uses`: 0 for any number.  `expires`: until when, 0 for ever.
 */
export interface LinkState {
  readonly link: string;
  readonly role: LinkRole;
  readonly uses: number;
  readonly used: number;
  readonly expires: number;
}

/**
 * A message that was found.  `snippet`: the part of its text to show.
 *
 * `matches`: where in the snippet the words stand, as pairs of offsets in characters (Unicode
 * code points), from and to before.
 */
export interface SearchHit {
  readonly message: Message;
  readonly snippet: string;
  readonly matches: readonly (readonly [number, number])[];
}

/** A device of the user.  `seen`: when it last was known to be there (ms). */
export interface DeviceState {
  readonly device: string;
  readonly kind: string;
  readonly online: boolean;
  readonly seen: number;
}

export type GroupCommand =
  | Create
  | Update
  | Add
  | Remove
  | Appoint
  | Ban
  | Unban
  | Mute
  | MakeLink
  | EndLink
  | Join;

export type MessageCommand =
  | Edit
  | Recall
  | React
  | Pin;

export type OwnCommand =
  | MarkRead
  | Hide
  | Block
  | PutSettings;

export type Command =
  | Send
  | Create
  | Update
  | Add
  | Remove
  | Appoint
  | Ban
  | Unban
  | Mute
  | MakeLink
  | EndLink
  | Join
  | Edit
  | Recall
  | React
  | Pin
  | MarkRead
  | Hide
  | Block
  | PutSettings;

export type Query =
  | GetHistory
  | ListConversations
  | ListMembers
  | ListBans
  | ListLinks
  | ReadBy
  | Search
  | ListDevices
  | LogOut;

export type ClientFrame =
  | Hello
  | Credit
  | Send
  | Create
  | Update
  | Add
  | Remove
  | Appoint
  | Ban
  | Unban
  | Mute
  | MakeLink
  | EndLink
  | Join
  | Edit
  | Recall
  | React
  | Pin
  | MarkRead
  | Hide
  | Block
  | PutSettings
  | GetHistory
  | ListConversations
  | ListMembers
  | ListBans
  | ListLinks
  | ReadBy
  | Search
  | ListDevices
  | LogOut
  | Watch
  | Typing
  | Renew
  | Ping;

export type ServerFrame =
  | Welcome
  | SyncPage
  | Live
  | Push
  | At
  | Behind
  | Reset
  | Ack
  | Problem
  | HistoryPage
  | ConversationPage
  | MemberPage
  | BanPage
  | LinkPage
  | ReaderPage
  | SearchPage
  | DevicePage
  | Presence
  | Watching
  | SomeoneTyping
  | Renewed
  | Pong;

/**
 * The first message of a conversation: it makes the conversation and its first members.
 *
 * The sender owns a group that it is a member of.
 */
export interface CreatedBody {
  readonly kind: ConversationKind;
  readonly members: readonly string[];
  readonly title?: string;
  readonly history?: History;
  readonly invite?: Inviters;
  readonly mention_all?: Inviters;
}

/**
 * Members who join with this message, and members for whom it is the last.
 *
 * `link`: the invite link by which its sender has come.
 */
export interface MembersBody {
  readonly joined?: readonly string[];
  readonly left?: readonly string[];
  readonly link?: string;
}

/** New settings of a group; what is None stays. */
export interface UpdatedBody {
  readonly title?: string | null;
  readonly history?: History | null;
  readonly invite?: Inviters | null;
  readonly mention_all?: Inviters | null;
}

/** A member has another role from here on. */
export interface AppointedBody {
  readonly user: string;
  readonly role: Role;
}

/** Users who may not be members (`on`), or may again.  For members it is the last message. */
export interface BannedBody {
  readonly users: readonly string[];
  readonly on?: boolean;
}

/** A member may not say anything until a time in ms; 0 lifts it. */
export interface MutedBody {
  readonly user: string;
  readonly until: number;
}

/**
 * There is an invite link: who knows its token can join.
 *
 * `link` is the SHA-256 of the token, in hex.  `role`: what one becomes by it.  `uses`: how
 * many may come by it (0: any number).  `expires`: until when (ms; 0: for ever).
 */
export interface LinkedBody {
  readonly link: string;
  readonly role?: LinkRole;
  readonly uses?: number;
  readonly expires?: number;
}

/** Nobody can join by an invite link any more. */
export interface UnlinkedBody {
  readonly link: string;
}

/** An earlier message says something else now.  Of several edits the last one holds. */
export interface EditedBody {
  readonly seq: number;
  readonly body: Json;
}

/** What an earlier message said is gone for ever, and what its edits said. */
export interface RecalledBody {
  readonly seq: number;
}

/** Its sender has put an emoji to an earlier message (`on`), or has taken it back. */
export interface ReactedBody {
  readonly seq: number;
  readonly emoji: string;
  readonly on?: boolean;
}

/** An earlier message is kept in sight (`on`), or no longer. */
export interface PinnedBody {
  readonly seq: number;
  readonly on?: boolean;
}

/** Its sender has read a conversation up to a SeqId.  Marks merge by maximum. */
export interface ReadBody {
  readonly conversation: string;
  readonly seq: number;
}

/** Its sender does not want to see a message any more, on any device. */
export interface HiddenBody {
  readonly conversation: string;
  readonly seq: number;
}

/** Its sender takes no messages from a user (`on`), or takes them again. */
export interface BlockedBody {
  readonly user: string;
  readonly on?: boolean;
}

/** What its sender has set.  `presence`: who may see whether the user is online. */
export interface SettingsBody {
  readonly presence?: Visibility;
}

/** Its sender has uploaded a medium: its size in bytes, its type, an image's size in pixels. */
export interface UploadedBody {
  readonly media: string;
  readonly bytes: number;
  readonly media_type: string;
  readonly width?: number;
  readonly height?: number;
}

/** A medium that nothing refers to is gone. */
export interface SweptBody {
  readonly media: string;
}

/**
 * Messages of a conversation that come after this one have another mode.
 *
 * `floor`: nothing below it can be synced any more; epochs that ended before it are forgotten.
 */
export interface ModeBody {
  readonly conversation: string;
  readonly mode: "write" | "read" | "push";
  readonly floor?: number;
}

/** A message that the server writes: its body, by its kind. */
export interface ControlBodies {
  readonly created: CreatedBody;
  readonly members: MembersBody;
  readonly updated: UpdatedBody;
  readonly role: AppointedBody;
  readonly banned: BannedBody;
  readonly muted: MutedBody;
  readonly linked: LinkedBody;
  readonly unlinked: UnlinkedBody;
  readonly edited: EditedBody;
  readonly recalled: RecalledBody;
  readonly reaction: ReactedBody;
  readonly pinned: PinnedBody;
  readonly read: ReadBody;
  readonly hidden: HiddenBody;
  readonly blocked: BlockedBody;
  readonly settings: SettingsBody;
  readonly uploaded: UploadedBody;
  readonly swept: SweptBody;
  readonly mode: ModeBody;
}

/** `text`: what is said. */
export interface TextBody {
  readonly text?: string;
}

/** A picture, with its size in pixels. */
export interface ImageBody {
  readonly media?: string | null;
  readonly ref?: string | null;
  readonly name?: string;
  readonly type?: string;
  readonly bytes?: number;
  readonly text?: string;
  readonly width?: number;
  readonly height?: number;
}

/**
 * A file: the name of an upload (`media`), or where it is kept elsewhere (`ref`).
 *
 * `type`: its media type.
 */
export interface FileBody {
  readonly media?: string | null;
  readonly ref?: string | null;
  readonly name?: string;
  readonly type?: string;
  readonly bytes?: number;
  readonly text?: string;
}

/** Sound, with its length. */
export interface AudioBody {
  readonly media?: string | null;
  readonly ref?: string | null;
  readonly name?: string;
  readonly type?: string;
  readonly bytes?: number;
  readonly text?: string;
  readonly duration_ms?: number;
}

/** A film, with its size in pixels and its length. */
export interface VideoBody {
  readonly media?: string | null;
  readonly ref?: string | null;
  readonly name?: string;
  readonly type?: string;
  readonly bytes?: number;
  readonly text?: string;
  readonly width?: number;
  readonly height?: number;
  readonly duration_ms?: number;
}

/** A place on earth, in degrees. */
export interface LocationBody {
  readonly latitude: number;
  readonly longitude: number;
  readonly name?: string;
}

/** A message of a known kind: its body, by its kind. */
export interface ContentBodies {
  readonly text: TextBody;
  readonly image: ImageBody;
  readonly file: FileBody;
  readonly audio: AudioBody;
  readonly video: VideoBody;
  readonly location: LocationBody;
}

const SHAPES: Record<string, readonly [Json, Readonly<Record<string, string>>?]> = {
  welcome: [{ version: 1, expires: 0 }, { limits: "Limits" }],
  page: [{ has_more: false }, { messages: "Message" }],
  live: [{}],
  push: [{}, { message: "Message" }],
  at: [{}],
  behind: [{}],
  reset: [{}],
  ack: [{ synced: false }],
  error: [{ id: "", retry: false, fields: {} }],
  history_page: [{ why: null }, { messages: "Message" }],
  conversation_page: [{}, { conversations: "ConversationState" }],
  member_page: [{ roles: {}, muted: {} }],
  ban_page: [{}],
  link_page: [{}],
  reader_page: [{}],
  search_page: [{ next: "" }, { hits: "SearchHit" }],
  device_page: [{}],
  presence: [{ seen: 0 }],
  watching: [{}, { users: "presence" }],
  typing: [{}],
  renewed: [{}],
  pong: [{ id: "", time: 0 }],
  Message: [{ from: "", id: "", kind: "", body: {}, sent: 0, reply: 0, mentions: [], forward: null, expires: 0, version: 0, edited: 0, edits: [], reactions: {}, damaged: false }],
  Media: [{ width: 0, height: 0 }],
  Limits: [{ frames_per_second: 0, bytes_per_second: 0, sends_per_second: 0, conversation_sends_per_second: 0 }],
  ConversationState: [{ last: null, mentioned: 0, role: "member", history: "joined", invite: "members", pins: [], muted: 0, mention_all: "members", presence: "all" }, { last: "Message" }],
  SearchHit: [{}, { message: "Message" }],
};

/** A frame from the server, with what it left out; null for a type that this SDK does not know. */
export function decode(text: string): ServerFrame | null {
  const frame = JSON.parse(text) as { type: string };
  return Object.hasOwn(SHAPES, frame.type) ? (fill(frame.type, frame) as ServerFrame) : null;
}

/** A message, with what was left out of it. */
export function message(given: Partial<Message>): Message {
  return fill("Message", given) as Message;
}

function fill(shape: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => fill(shape, one));
  if (typeof value !== "object" || value === null) return value;
  const [defaults, held = {}] = SHAPES[shape] ?? [{}];
  const filled: Json = { ...defaults, ...value };
  const parts = Object.entries(held).map(([field, part]) => [field, fill(part, filled[field])]);
  return { ...filled, ...Object.fromEntries(parts) };
}
