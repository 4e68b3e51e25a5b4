/** One conversation: its head, its history, and where the next message is written. */

import { useSignal } from "@preact/signals";
import type { Message } from "@timewire/client";
import { useEffect } from "preact/hooks";
import type { Account } from "../model/account";
import { isSaid } from "../model/messages";
import { go, place } from "../model/place";
import type { Timeline } from "../model/timeline";
import { listed, moment, say } from "../words";
import { Actions, type Chosen } from "./Actions";
import { Composer, type Task } from "./Composer";
import { DateJump } from "./DateJump";
import { GroupPanel } from "./GroupPanel";
import { History } from "./History";
import { NewConversation } from "./NewConversation";
import { partner, titleOf } from "./names";
import { PersonPanel } from "./PersonPanel";
import { Pins } from "./Pins";
import { Avatar, IconButton, type IconName, Name } from "./parts";

/** How often it is asked who has read what, beside the moments when that is likely to change. */
const READERS_MS = 10_000;

export function Chat({ account }: { readonly account: Account }) {
  const timeline = account.timeline.value;
  if (!place.value) return <Nothing account={account} />;
  if (!timeline) return <section class="chat empty" />;
  return <Open key={timeline.conversation} account={account} timeline={timeline} />;
}

/** No conversation is open. */
function Nothing({ account }: { readonly account: Account }) {
  const making = useSignal(false);
  const open = (on: boolean) => () => {
    making.value = on;
  };
  return (
    <section class="chat empty">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <p class="hint">{say("list.choose")}</p>
      <button type="button" class="primary" onClick={open(true)}>
        {say("list.begin")}
      </button>
      {making.value && <NewConversation account={account} onClose={open(false)} />}
    </section>
  );
}

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
}

function Open({ account, timeline }: Props) {
  const { conversation } = timeline;
  const task = useSignal<Task | undefined>(undefined);
  const chosen = useSignal<Chosen | undefined>(undefined);
  const panel = useSignal<"" | "group" | "date" | "pins" | "person">("");
  const state = account.conversations.get(conversation);
  const title = titleOf(account.user, conversation, state);
  const other = partner(account.user, conversation);
  const close = () => {
    panel.value = "";
  };
  const opens = (icon: IconName, label: string, what: typeof panel.value) => (
    <IconButton
      icon={icon}
      label={label}
      onClick={() => {
        panel.value = what;
      }}
    />
  );
  useReaders(account, timeline);
  useEffect(() => {
    if (state?.kind === "group") void account.people.load(conversation).catch(() => undefined);
  }, [conversation, state?.kind]);
  return (
    <section class="chat" aria-label={title}>
      <header>
        <IconButton class="narrow" icon="back" label={say("back")} onClick={() => go("")} />
        <Avatar name={title} />
        <div class="about">
          <h2>
            <Name of={title} />
          </h2>
          <Presence account={account} conversation={conversation} />
        </div>
        {state && state.pins.length > 0 && opens("pin", say("pins"), "pins")}
        {opens("calendar", say("history.date"), "date")}
        {state?.kind === "group" && opens("people", say("group"), "group")}
        {other && opens("person", say("person", { user: other }), "person")}
      </header>
      <History
        account={account}
        timeline={timeline}
        onChoose={(what) => {
          chosen.value = what;
        }}
      />
      <Typing account={account} conversation={conversation} />
      <Composer account={account} conversation={conversation} task={task} newest={timeline} />
      {chosen.value && <Actions account={account} chosen={chosen} task={task} />}
      {panel.value === "group" && state && (
        <GroupPanel account={account} state={state} onClose={close} />
      )}
      {panel.value === "pins" && <Pins account={account} timeline={timeline} onClose={close} />}
      {panel.value === "person" && <PersonPanel account={account} user={other} onClose={close} />}
      {panel.value === "date" && <DateJump account={account} timeline={timeline} onClose={close} />}
    </section>
  );
}

/** Ask who has read the user's last message: now, when somebody does something, now and then. */
function useReaders(account: Account, timeline: Timeline): void {
  const { conversation } = timeline;
  const last = timeline.messages.value.findLast(
    (message: Message) => message.from === account.user && isSaid(message),
  );
  const active = account.people.typing.value.get(conversation);
  const newest = timeline.messages.value.at(-1)?.seq;
  const live = account.link.value === "live";
  useEffect(() => {
    if (!last || !live || conversation.startsWith("self:")) return;
    const ask = () => {
      if (document.visibilityState === "visible") void account.reads.ask(conversation, last.seq);
    };
    ask();
    const timer = setInterval(ask, READERS_MS);
    return () => clearInterval(timer);
  }, [last?.seq, newest, active, live]);
}

function Presence({ account, conversation }: { account: Account; conversation: string }) {
  const other = partner(account.user, conversation);
  const state = account.conversations.get(conversation);
  if (state?.kind === "group") {
    const roster = account.people.rosters.value.get(conversation);
    return <p class="sub">{roster && say("members", { count: roster.length })}</p>;
  }
  if (account.people.blocked.value.includes(other)) {
    return <p class="sub">{say("person.isblocked")}</p>;
  }
  const known = account.people.presence.value.get(other);
  if (!known) return <p class="sub" />;
  if (known.online) return <p class="sub here">{say("online")}</p>;
  return <p class="sub">{known.seen ? say("seen", { when: moment(known.seen) }) : ""}</p>;
}

function Typing({ account, conversation }: { account: Account; conversation: string }) {
  const users = account.people.typing.value.get(conversation) ?? [];
  return (
    <p class="typing" aria-live="polite">
      {users.length > 0 && say("typing", { count: users.length, who: listed(users) })}
    </p>
  );
}
