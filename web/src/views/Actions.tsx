/** What can be done with a message. */

import type { Signal } from "@preact/signals";
import type { Message } from "@timewire/client";
import { useState } from "preact/hooks";
import type { Account } from "../model/account";
import { textOf } from "../model/messages";
import type { Timeline } from "../model/timeline";
import { say } from "../words";
import type { Task } from "./Composer";
import { Modal, Name } from "./parts";

const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "👀"];

/** A message that something is to be done with, and where on the page that was said. */
export interface Chosen {
  readonly message: Message;
  readonly timeline: Timeline;
  readonly x: number;
  readonly y: number;
}

export type Choose = (chosen: Chosen) => void;

interface Props {
  readonly account: Account;
  readonly chosen: Signal<Chosen | undefined>;
  readonly task: Signal<Task | undefined>;
}

export function Actions({ account, chosen, task }: Props) {
  const [readers, setReaders] = useState<readonly string[] | undefined>(undefined);
  const client = account.client.value;
  if (!chosen.value || !client) return null;
  const { message, timeline, x, y } = chosen.value;
  const { conversation, seq } = message;
  const close = () => {
    chosen.value = undefined;
  };
  const state = account.conversations.get(conversation);
  const own = message.from === account.user;
  const admin = state?.kind === "group" && state.role !== "member";
  const pinned = state?.pins.includes(seq) ?? false;
  const text = textOf(message);
  const doing = (work: () => unknown) => () => {
    work();
    close();
  };
  const act = (label: string, work: () => unknown, danger = false) => (
    <button type="button" class={danger ? "danger" : ""} onClick={doing(work)}>
      {label}
    </button>
  );
  if (readers) {
    return (
      <Modal label={say("message.readby.title")} onClose={close}>
        {!readers.length && <p class="hint">{say("message.readby.none")}</p>}
        <ul class="people">
          {readers.map((name) => (
            <li key={name}>
              <Name of={name} />
            </li>
          ))}
        </ul>
      </Modal>
    );
  }
  const ask = () => client.readBy(conversation, seq).then(setReaders, close);
  return (
    <Modal label={say("message.actions")} onClose={close} at={{ x, y }}>
      <div class="emoji">
        {EMOJI.map((emoji) => (
          <button
            type="button"
            key={emoji}
            aria-label={say("message.react", { emoji })}
            onClick={doing(() => client.react(conversation, seq, emoji))}
          >
            {emoji}
          </button>
        ))}
      </div>
      {act(say("message.reply"), () => {
        task.value = { kind: "reply", message };
      })}
      {own &&
        message.kind === "text" &&
        act(say("message.edit"), () => {
          task.value = { kind: "edit", message };
        })}
      {text && act(say("message.copy"), () => navigator.clipboard?.writeText(text))}
      {own && (
        <button type="button" onClick={() => void ask()}>
          {say("message.readers")}
        </button>
      )}
      {(admin || state?.kind === "direct") &&
        act(say(pinned ? "message.unpin" : "message.pin"), () =>
          client.pin(conversation, seq, !pinned),
        )}
      {act(say("message.hide"), () => {
        client.hide(conversation, seq);
        timeline.hide(seq);
      })}
      {(own || admin) && act(say("message.recall"), () => client.recall(conversation, seq), true)}
    </Modal>
  );
}
