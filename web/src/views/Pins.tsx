/** The pinned messages of a conversation, the one pinned last first; each leads to its place. */

import type { Message } from "@timewire/client";
import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import type { Timeline } from "../model/timeline";
import { moment, say } from "../words";
import { summary } from "./names";
import { IconButton, Modal, Name } from "./parts";

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly onClose: () => void;
}

export function Pins({ account, timeline, onClose }: Props) {
  const { conversation } = timeline;
  const state = account.conversations.get(conversation);
  const pins = [...(state?.pins ?? [])].reverse();
  const mayUnpin = state?.kind === "direct" || (state?.kind === "group" && state.role !== "member");
  return (
    <Modal label={say("pins")} onClose={onClose}>
      {!pins.length && <p class="hint">{say("pins.none")}</p>}
      <ul class="pins">
        {pins.map((seq) => (
          <li key={seq}>
            <Pin account={account} timeline={timeline} seq={seq} onClose={onClose} />
            {mayUnpin && (
              <IconButton
                icon="close"
                label={say("message.unpin")}
                onClick={() => account.client.value?.pin(conversation, seq, false)}
              />
            )}
          </li>
        ))}
      </ul>
    </Modal>
  );
}

function Pin({ account, timeline, seq, onClose }: Props & { readonly seq: number }) {
  const [fetched, setFetched] = useState<Message | undefined>(undefined);
  const message = timeline.find(seq) ?? fetched;
  useEffect(() => {
    if (message) return;
    const where = { before: seq + 1, limit: 1 };
    account.client.value?.history(timeline.conversation, where).then(
      ({ messages: [found] }) => setFetched(found?.seq === seq ? found : undefined),
      () => undefined,
    );
  }, [seq]);
  const jump = () => {
    onClose();
    void timeline.jump(seq);
  };
  return (
    <button type="button" class="pin" onClick={jump}>
      {message && (
        <small>
          <strong>
            <Name of={message.from} />
          </strong>{" "}
          {moment(message.time)}
        </small>
      )}
      <span>{message ? summary(message) : say("message.gone")}</span>
    </button>
  );
}
