/** What was said, as far as it is seen; the rest is read when it comes near. */

import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Account } from "../model/account";
import type { Timeline } from "../model/timeline";
import { say } from "../words";
import type { Choose } from "./Actions";
import { MessageRow } from "./MessageRow";
import { IconButton, reason } from "./parts";
import { type Row, rowsOf } from "./rows";
import { VirtualList } from "./VirtualList";

/** A row that was jumped to stands out for so long. */
const FLASH_MS = 2_000;

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly onChoose: Choose;
}

export function History({ account, timeline, onChoose }: Props) {
  const atEnd = useSignal(true);
  const flashed = useSignal<number | undefined>(undefined);
  const rows = useComputed(() => {
    const { conversation, messages, hasNewer } = timeline;
    const waiting = hasNewer.value
      ? []
      : account.outbox.waiting.value.filter((one) => one.conversation === conversation);
    return rowsOf(messages.value, waiting, account.user);
  });
  const last = timeline.messages.value.at(-1);
  useEffect(() => {
    const seen = () => {
      const isSeen = atEnd.value && !timeline.hasNewer.value && document.hasFocus();
      if (isSeen && last && account.looked.value) account.read(timeline.conversation, last.seq);
    };
    seen();
    addEventListener("focus", seen);
    return () => removeEventListener("focus", seen);
  }, [last?.seq, atEnd.value, account.conversations.loaded.value]);
  const target = timeline.target.value;
  useEffect(() => {
    if (target?.key === undefined) return;
    flashed.value = target.key;
    const timer = setTimeout(() => {
      flashed.value = undefined;
    }, FLASH_MS);
    return () => clearTimeout(timer);
  }, [target]);
  const fault = timeline.fault.value;
  if (fault && !rows.value.length) {
    return <p class="hint">{say("history.closed", { reason: reason(fault) })}</p>;
  }
  if (timeline.loading.value && !rows.value.length) {
    return <p class="hint">{say("loading")}</p>;
  }
  const away = timeline.hasNewer.value || !atEnd.value;
  return (
    <div class="history">
      {!rows.value.length && <p class="hint">{say("history.empty")}</p>}
      <VirtualList<Row>
        items={rows.value}
        keyOf={({ key }) => key}
        label={say("history")}
        render={(row) => (
          <MessageRow
            key={row.key}
            account={account}
            timeline={timeline}
            row={row}
            flashed={flashed.value === row.key}
            onChoose={onChoose}
          />
        )}
        hasBefore={timeline.hasOlder.value}
        hasBeyond={timeline.hasNewer.value}
        onBefore={() => void timeline.older()}
        onBeyond={() => void timeline.newer()}
        onEnd={(isSeen) => {
          atEnd.value = isSeen;
        }}
        target={target}
      />
      {away && (
        <IconButton
          class="newest"
          icon="down"
          label={say("history.newest")}
          onClick={() => void timeline.toNewest()}
        />
      )}
    </div>
  );
}
