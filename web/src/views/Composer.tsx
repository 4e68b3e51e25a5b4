/** Where a message is written: its text, its files, what it answers. What is begun stays. */

import type { Signal } from "@preact/signals";
import type { Message } from "@timewire/client";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Account } from "../model/account";
import { draftOf, keepDraft, othersDrafts } from "../model/drafts";
import { isSaid, textOf } from "../model/messages";
import { mentions } from "../model/text";
import type { Timeline } from "../model/timeline";
import { moment, say } from "../words";
import { Files, useFiles } from "./Files";
import { MentionList, mentionProps, useMention } from "./Mention";
import { partner, summary } from "./names";
import { Icon, IconButton } from "./parts";

const MAX_ROWS_PX = 200;
/** The user is typing: so often it is said at most. */
const TYPING_MS = 2_000;

/** What the next message is to be, other than new. */
export interface Task {
  readonly kind: "reply" | "edit";
  readonly message: Message;
}

interface Props {
  readonly account: Account;
  readonly conversation: string;
  readonly task: Signal<Task | undefined>;
  readonly newest: Timeline;
}

export function Composer({ account, conversation, task, newest }: Props) {
  const { user } = account;
  const [text, setText] = useState(() => draftOf(user, conversation));
  const area = useRef<HTMLTextAreaElement>(null);
  const typed = useRef(0);
  const files = useFiles(account, conversation);
  const doing = task.value;
  const state = account.conversations.get(conversation);

  const write = (said: string) => {
    setText(said);
    if (task.value?.kind !== "edit") keepDraft(user, conversation, said);
  };
  const names = speakable(account, conversation);
  const mention = useMention(area, text, names, write);
  useEffect(() => {
    // What is begun in one tab goes on in the other.
    if (task.value?.kind !== "edit") setText(draftOf(user, conversation));
  }, [othersDrafts.value]);
  useEffect(() => {
    if (doing?.kind === "edit") setText(textOf(doing.message));
    area.current?.focus();
  }, [doing]);
  useEffect(() => {
    const shown = area.current;
    if (!shown) return;
    shown.style.height = "auto";
    shown.style.height = `${Math.min(shown.scrollHeight, MAX_ROWS_PX)}px`;
  }, [text]);
  const done = () => {
    const isEdit = task.value?.kind === "edit";
    task.value = undefined;
    if (isEdit) setText(draftOf(user, conversation));
    else write("");
  };
  const submit = () => {
    const said = text.trim();
    const client = account.client.value;
    if (!client || (!said && !files.all.length)) return;
    if (doing?.kind === "edit") {
      if (said) client.edit(conversation, doing.message.seq, { ...doing.message.body, text: said });
      return done();
    }
    const reply = doing?.kind === "reply" ? { reply: doing.message.seq } : {};
    if (files.all.length) void files.send(said, reply);
    else
      account.send(
        conversation,
        "text",
        { text: said },
        { ...reply, mentions: mentions(said, names) },
      );
    done();
    void newest.toNewest();
  };
  const key = (event: KeyboardEvent) => {
    if (mention.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && doing) {
      done();
    } else if (event.key === "ArrowUp" && !text && !doing) {
      const last = newest.messages.value.findLast(
        (message: Message) => message.from === user && isSaid(message) && message.kind === "text",
      );
      if (last) {
        event.preventDefault();
        task.value = { kind: "edit", message: last };
      }
    }
  };
  const input = (said: string) => {
    write(said);
    mention.look();
    if (said && Date.now() - typed.current > TYPING_MS && doing?.kind !== "edit") {
      typed.current = Date.now();
      account.client.value?.typing(conversation);
    }
  };
  if (state && !state.member) return <p class="closed">{say("compose.gone")}</p>;
  if (state && state.muted > Date.now()) {
    return <p class="closed">{say("compose.muted", { when: moment(state.muted) })}</p>;
  }
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {doing && (
        <div class="task">
          <span>
            <strong>
              {doing.kind === "edit"
                ? say("compose.editing")
                : say("compose.replying", { who: doing.message.from })}
            </strong>{" "}
            {summary(doing.message)}
          </span>
          <IconButton icon="close" label={say("cancel")} onClick={done} />
        </div>
      )}
      <Files files={files} />
      <MentionList of={mention} />
      <div class="line">
        <label class="iconbutton" title={say("compose.attach")}>
          <Icon of="clip" />
          <input
            type="file"
            multiple
            class="unseen"
            aria-label={say("compose.attach")}
            onChange={(event) => {
              files.add([...(event.currentTarget.files ?? [])]);
              event.currentTarget.value = "";
            }}
          />
        </label>
        <textarea
          ref={area}
          rows={1}
          dir="auto"
          aria-label={say("compose")}
          placeholder={say("compose")}
          value={text}
          onInput={(event) => input(event.currentTarget.value)}
          onKeyDown={key}
          onKeyUp={(event) =>
            event.key.startsWith("Arrow") && !mention.options.length && mention.look()
          }
          onClick={mention.look}
          onBlur={mention.hide}
          {...mentionProps(mention)}
          onPaste={(event) => {
            const pasted = [...(event.clipboardData?.files ?? [])];
            if (pasted.length) event.preventDefault();
            files.add(pasted);
          }}
        />
        <button type="submit" class="iconbutton send" aria-label={say("compose.send")}>
          <Icon of="send" />
        </button>
      </div>
    </form>
  );
}

/** Who can be spoken to with `@` here. */
function speakable(account: Account, conversation: string): readonly string[] {
  const state = account.conversations.get(conversation);
  const roster = account.people.rosters.value.get(conversation) ?? [];
  const others = roster.map(({ name }) => name).filter((name) => name !== account.user);
  if (state?.kind !== "group") return [partner(account.user, conversation)].filter(Boolean);
  const mayAll = state.mention_all === "members" || state.role !== "member";
  return mayAll ? [...others, "all"] : others;
}
