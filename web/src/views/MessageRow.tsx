/** One message, or one that is on its way. */

import type { Message } from "@timewire/client";
import { memo } from "preact/compat";
import type { Account } from "../model/account";
import { attached, isEmpty, textOf } from "../model/messages";
import type { Waiting } from "../model/outbox";
import { pieces } from "../model/text";
import type { Timeline } from "../model/timeline";
import { clock, day, listed, moment, say } from "../words";
import type { Choose } from "./Actions";
import { File } from "./File";
import { called, notice } from "./names";
import { Avatar, IconButton, Name } from "./parts";
import { Quote } from "./Quote";
import type { Row } from "./rows";

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly row: Row;
  readonly flashed: boolean;
  readonly onChoose: Choose;
}

function RowView({ account, timeline, row, flashed, onChoose }: Props) {
  const { message, waiting } = row;
  return (
    <article
      class={flashed ? "row flashed" : "row"}
      data-key={row.key}
      tabIndex={-1}
      onKeyDown={steer}
    >
      {row.day > 0 && <p class="day">{day(row.day)}</p>}
      {message && (
        <Said
          account={account}
          timeline={timeline}
          message={message}
          head={row.head}
          onChoose={onChoose}
        />
      )}
      {waiting && <OnItsWay account={account} timeline={timeline} waiting={waiting} row={row} />}
    </article>
  );
}

export const MessageRow = memo(RowView, (one, other) => {
  return (
    one.row.message === other.row.message &&
    one.row.waiting === other.row.waiting &&
    one.row.day === other.row.day &&
    one.row.head === other.row.head &&
    one.flashed === other.flashed
  );
});

interface SaidProps {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly message: Message;
  readonly head: boolean;
  readonly onChoose: Choose;
}

function Said({ account, timeline, message, head, onChoose }: SaidProps) {
  const told = notice(message);
  if (told) return <p class="notice">{told}</p>;
  const own = message.from === account.user;
  const empty = isEmpty(message);
  const choose = (event: MouseEvent) =>
    onChoose({ message, timeline, x: event.clientX, y: event.clientY });
  return (
    <div class={own ? "message own" : "message"}>
      {head && <Head name={message.from} time={message.time} />}
      <div class="said">
        {message.reply > 0 && <Quote account={account} timeline={timeline} seq={message.reply} />}
        {empty ? (
          <p class="gone">{say("message.recalled")}</p>
        ) : (
          <Content {...{ account, message }} />
        )}
        {!empty && message.edited > 0 && (
          <small class="edited" title={moment(message.edited)}>
            {say("message.edited")}
          </small>
        )}
        <Reactions account={account} message={message} />
      </div>
      {own && !empty && <State account={account} message={message} timeline={timeline} />}
      {!empty && message.from && (
        <IconButton class="act" icon="more" label={say("message.actions")} onClick={choose} />
      )}
    </div>
  );
}

function Head({ name, time }: { readonly name: string; readonly time: number }) {
  return (
    <>
      <Avatar name={name || "?"} />
      <p class="head">
        <strong>
          <Name of={name} />
        </strong>
        <time dateTime={new Date(time).toISOString()} title={moment(time)}>
          {clock(time)}
        </time>
      </p>
    </>
  );
}

function Content({ account, message }: { readonly account: Account; readonly message: Message }) {
  const file = attached(message);
  const text = textOf(message);
  const known = file || text || message.kind === "text";
  return (
    <>
      {file && <File account={account} file={file} shown={message.kind === "image"} />}
      {text && <Text of={text} />}
      {!known && <p class="gone">{say("message.kind", { kind: message.kind })}</p>}
    </>
  );
}

/** A text as text: only links of harmless kinds lead somewhere. */
export function Text({ of }: { readonly of: string }) {
  return (
    <p class="text" dir="auto">
      {pieces(of).map(({ text, href, mention }, at) => {
        if (href) {
          return (
            <a key={at} href={href} target="_blank" rel="noopener noreferrer nofollow">
              {text}
            </a>
          );
        }
        return mention ? <b key={at}>{text}</b> : text;
      })}
    </p>
  );
}

function Reactions({ account, message }: { account: Account; message: Message }) {
  const all = Object.entries(message.reactions);
  if (!all.length || isEmpty(message)) return null;
  return (
    <ul class="reactions">
      {all.map(([emoji, users]) => {
        const own = users.includes(account.user);
        const who = listed(users.map((user) => called(account, user)));
        const label = say("message.reacted", { emoji, number: users.length, who });
        return (
          <li key={emoji}>
            <button
              type="button"
              aria-pressed={own}
              aria-label={label}
              title={label}
              onClick={() => {
                account.client.value?.react(message.conversation, message.seq, emoji, !own);
              }}
            >
              {emoji} {users.length}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** Whether a message of the user's was read, and of the last one by whom. */
function State({ account, message, timeline }: Omit<SaidProps, "head" | "onChoose">) {
  const { conversation, seq } = message;
  const marks = account.reads.marks.value.get(conversation) ?? [];
  const count = account.reads.count(conversation, seq);
  const exact = marks.find((mark) => mark.seq === seq);
  const isGroup = !conversation.startsWith("direct:");
  const isLast = timeline.messages.value.at(-1)?.seq === seq;
  const who = exact && isGroup && count > 0 ? say("message.readby", { who: listed(exact.by) }) : "";
  const said = count ? who || say("message.read") : say("message.stored");
  return (
    <span class={count ? "state read" : "state"} title={said} role="img" aria-label={said}>
      {count ? "✓✓" : "✓"}
      {isLast && count > 0 ? ` ${said}` : ""}
    </span>
  );
}

interface OnItsWayProps {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly waiting: Waiting;
  readonly row: Row;
}

function OnItsWay({ account, timeline, waiting, row }: OnItsWayProps) {
  const { id, conversation, kind, body, reply, mentions, fault } = waiting;
  const again = () => {
    account.outbox.remove(id);
    account.send(conversation, kind, body, { reply, mentions });
  };
  const text = textOf({ body });
  return (
    <div class="message own waiting">
      {row.head && <Head name={account.user} time={waiting.time} />}
      <div class="said">
        {reply > 0 && <Quote account={account} timeline={timeline} seq={reply} />}
        {text ? <Text of={text} /> : <p class="text">{String(body.name ?? kind)}</p>}
        {fault && (
          <p class="fault" role="alert">
            {say("message.failed", { reason: fault })}{" "}
            <button type="button" onClick={again}>
              {say("retry")}
            </button>
            <button type="button" onClick={() => account.outbox.remove(id)}>
              {say("remove")}
            </button>
          </p>
        )}
      </div>
      {!fault && (
        <span
          class="state"
          role="img"
          title={say("message.queued")}
          aria-label={say("message.queued")}
        >
          ◷
        </span>
      )}
    </div>
  );
}

/** Up and down go from row to row. */
function steer(event: KeyboardEvent): void {
  const row = event.currentTarget as HTMLElement;
  if (event.target !== row) return;
  const next = event.key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
  if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
  (next as HTMLElement | null)?.focus();
  event.preventDefault();
}
