/** Timewire in browsers and Node: one device of one user, offline first. */

export type { Invite, Posted, SendOptions, Sent } from "./acts.js";
export type { BackoffOptions } from "./backoff.js";
export { type Client, type ConnectOptions, connect } from "./client.js";
export { TimewireError } from "./errors.js";
export type { Arrival, Event, News } from "./events.js";
export { MemoryTables } from "./memory.js";
export { direct } from "./names.js";
export type {
  AckLevel,
  Command,
  ContentBodies,
  ControlBodies,
  ConversationKind,
  ConversationState,
  DeviceState,
  ErrorKind,
  Forward,
  History,
  Inviters,
  Json,
  LinkState,
  Media,
  Message,
  ResetReason,
  Role,
  Search,
  SearchHit,
  Visibility,
  WhyEmpty,
} from "./protocol.js";
export type { HistorySlice, Member, SearchSlice, Where } from "./queries.js";
export { revised } from "./revisions.js";
export type { State } from "./session.js";
export type { Tables } from "./tables.js";
export type { TokenSource } from "./tokens.js";
