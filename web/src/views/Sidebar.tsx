/** The conversations: which there are, what was said last, what is unread. */

import type { ConversationState } from "@timewire/client";
import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import { draftOf } from "../model/drafts";
import { isNotice, isRow } from "../model/messages";
import { go, place } from "../model/place";
import { brief, say } from "../words";
import { NewConversation } from "./NewConversation";
import { partner, summary, titleOf } from "./names";
import { Avatar, IconButton, Name } from "./parts";
import { Search } from "./Search";

/** Conversations that are shown before the list is filtered. */
const MAX_SHOWN = 300;

export function Sidebar({ account }: { readonly account: Account }) {
  const [filter, setFilter] = useState("");
  const [making, setMaking] = useState(false);
  const [searching, setSearching] = useState(false);
  const all = account.conversations.sorted.value;
  const wanted = filter.trim().toLowerCase();
  const shown = all
    .filter((state) =>
      titleOf(account.user, state.conversation, state).toLowerCase().includes(wanted),
    )
    .slice(0, MAX_SHOWN);
  // Only who shares a conversation is told of: not before something was said in it.
  const partners = all
    .filter(({ last }) => last)
    .map(({ conversation }) => partner(account.user, conversation))
    .filter(Boolean);
  const live = account.link.value === "live";
  useEffect(() => {
    if (live) account.people.watch(partners);
  }, [live, partners.join("\n")]);
  if (searching) return <Search account={account} onClose={() => setSearching(false)} />;
  return (
    <nav class="sidebar" aria-label={say("list")}>
      <header>
        <input
          id="filter"
          type="search"
          placeholder={say("list.filter")}
          aria-label={say("list.filter")}
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && shown[0]) go(shown[0].conversation);
            if (event.key === "ArrowDown") focusRow(event.currentTarget, 0);
          }}
        />
        <IconButton icon="search" label={say("search")} onClick={() => setSearching(true)} />
        <IconButton icon="plus" label={say("list.new")} onClick={() => setMaking(true)} />
      </header>
      <Status account={account} />
      {!shown.length && <p class="hint">{say(all.length ? "list.nothing" : "list.empty")}</p>}
      <ul class="conversations" onKeyDown={steer}>
        {shown.map((state) => (
          <Row key={state.conversation} account={account} state={state} />
        ))}
      </ul>
      {making && <NewConversation account={account} onClose={() => setMaking(false)} />}
    </nav>
  );
}

/** How the connection is, when it is not as it should be. */
function Status({ account }: { readonly account: Account }) {
  const link = account.link.value;
  const said =
    link === "live" ? "" : say(`link.${link}`, { reason: account.fault.value?.message ?? "" });
  return (
    <p class={`status ${link}`} role="status">
      {said}
    </p>
  );
}

interface RowProps {
  readonly account: Account;
  readonly state: ConversationState;
}

function Row({ account, state }: RowProps) {
  const { conversation, last, unread, mentioned } = state;
  const title = titleOf(account.user, conversation, state);
  const isOpen = place.value === conversation;
  const other = partner(account.user, conversation);
  const draft = isOpen ? "" : draftOf(account.user, conversation);
  const online = account.people.presence.value.get(other)?.online === true;
  return (
    <li>
      <button
        type="button"
        class="conversation"
        aria-current={isOpen ? "page" : undefined}
        onClick={() => go(conversation)}
      >
        <Avatar name={title} online={online} />
        <span class="title">
          <Name of={title} />
          {online && <span class="unseen">{say("online")}</span>}
        </span>
        <time>{last && isRow(last) ? brief(last.time) : ""}</time>
        <span class="preview">
          {draft ? (
            <>
              <em>{say("list.draft")}</em> {draft}
            </>
          ) : (
            last && isRow(last) && preview(account, last)
          )}
        </span>
        <span class="counts">
          {mentioned > 0 && (
            <span class="badge mention" title={say("list.mentioned", { count: mentioned })}>
              @<span class="unseen">{say("list.mentioned", { count: mentioned })}</span>
            </span>
          )}
          {unread > 0 && (
            <span class="badge" title={say("list.unread", { count: unread })}>
              {unread > 999 ? "999+" : unread}
              <span class="unseen">{say("list.unread", { count: unread })}</span>
            </span>
          )}
        </span>
      </button>
    </li>
  );
}

function preview(account: Account, last: NonNullable<ConversationState["last"]>) {
  const text = summary(last);
  if (isNotice(last)) return text;
  const isGroup = !/^(direct|self):/.test(last.conversation);
  if (last.from === account.user) return `${say("you")}: ${text}`;
  return isGroup && last.from ? `${last.from}: ${text}` : text;
}

/** Up and down go from one conversation to the next. */
function steer(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = event.currentTarget as HTMLElement;
  if (!step) return;
  const rows = [...list.querySelectorAll("button")];
  const at = rows.indexOf(document.activeElement as HTMLButtonElement);
  rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
  event.preventDefault();
}

function focusRow(input: HTMLElement, at: number): void {
  const rows = input.closest("nav")?.querySelectorAll<HTMLElement>("button.conversation");
  rows?.[at]?.focus();
}
