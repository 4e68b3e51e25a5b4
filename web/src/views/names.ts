/** What conversations and messages are called in a line of text. */

import type { ConversationState, Message } from "@timewire/client";
import type { Account } from "../model/account";
import { attached, control, isEmpty, textOf } from "../model/messages";
import { listed, say } from "../words";

/** The other user of a direct conversation; "" for any other. */
export function partner(user: string, conversation: string): string {
  if (!conversation.startsWith("direct:")) return "";
  const [, one = "", other = ""] = conversation.split(":");
  return one === user ? other : one;
}

/** What a user calls a conversation. */
export function titleOf(
  user: string,
  conversation: string,
  state?: Pick<ConversationState, "title">,
): string {
  if (conversation === `self:${user}`) return say("notes");
  return partner(user, conversation) || state?.title || conversation;
}

/** A user's name, as it is told to a user. */
export function called(account: Account, user: string): string {
  return user === account.user ? say("you") : user;
}

/** A message in one line. */
export function summary(message: Message): string {
  if (isEmpty(message)) return say("message.recalled");
  const told = notice(message);
  if (told) return told;
  const file = attached(message);
  const text = textOf(message).replace(/\s+/g, " ");
  if (file) return `${file.name || message.kind} ${text}`.trim();
  return text || say("message.kind", { kind: message.kind });
}

/** What a message about its conversation says; "" for any other. */
export function notice(message: Message): string {
  const who = message.from;
  const created = control(message, "created");
  if (created) {
    return created.kind === "group" ? say("notice.created", { who }) : say("notice.begun");
  }
  const members = control(message, "members");
  if (members) return moved(who, members.joined ?? [], members.left ?? []);
  const updated = control(message, "updated");
  if (updated?.title) return say("notice.title", { who, title: updated.title });
  if (updated) return say("notice.updated", { who });
  const role = control(message, "role");
  if (role) return say("notice.role", { who, user: role.user, role: say(`role.${role.role}`) });
  const banned = control(message, "banned");
  if (banned) {
    const word = (banned.on ?? true) ? "notice.banned" : "notice.unbanned";
    return say(word, { who, users: listed(banned.users) });
  }
  const muted = control(message, "muted");
  if (muted) return say(muted.until ? "notice.muted" : "notice.unmuted", { who, user: muted.user });
  return "";
}

function moved(who: string, joined: readonly string[], left: readonly string[]): string {
  if (joined.length) return say("notice.joined", { who, users: listed(joined) });
  if (left.length === 1 && left[0] === who) return say("notice.left", { who });
  return say("notice.removed", { who, users: listed(left) });
}
