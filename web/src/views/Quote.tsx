/** The message that another one answers, in a line; it leads there. */

import type { Message } from "@timewire/client";
import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import type { Timeline } from "../model/timeline";
import { say } from "../words";
import { summary } from "./names";
import { Name } from "./parts";

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly seq: number;
}

export function Quote({ account, timeline, seq }: Props) {
  const [fetched, setFetched] = useState<Message | undefined>(undefined);
  const here = timeline.find(seq);
  useEffect(() => {
    if (here) return;
    const where = { before: seq + 1, limit: 1 };
    account.client.value?.history(timeline.conversation, where).then(
      ({ messages: [found] }) => setFetched(found?.seq === seq ? found : undefined),
      () => undefined,
    );
  }, [seq, here === undefined]);
  const message = here ?? fetched;
  return (
    <button type="button" class="quote" onClick={() => void timeline.jump(seq)}>
      {message?.from && (
        <strong>
          <Name of={message.from} />
        </strong>
      )}
      <span>{message ? summary(message) : say("message.gone")}</span>
    </button>
  );
}
