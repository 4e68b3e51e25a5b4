/** Go to what was said on a day. */

import { useState } from "preact/hooks";
import type { Account } from "../model/account";
import type { Timeline } from "../model/timeline";
import { say } from "../words";
import { Modal, reason } from "./parts";

interface Props {
  readonly account: Account;
  readonly timeline: Timeline;
  readonly onClose: () => void;
}

export function DateJump({ account, timeline, onClose }: Props) {
  const [fault, setFault] = useState("");
  const jump = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const since = new Date(`${String(form.get("date"))}T00:00`).getTime();
    const { conversation } = timeline;
    const wanted = { conversation, since, order: "oldest", limit: 1 } as const;
    try {
      const found = await account.client.value?.search("", wanted);
      const first = found?.hits[0];
      if (!first) return setFault(say("history.none"));
      onClose();
      await timeline.jump(first.message.seq);
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  return (
    <Modal label={say("history.date")} onClose={onClose}>
      <form onSubmit={(event) => void jump(event)}>
        <label>
          {say("history.date")}
          <input type="date" name="date" required />
        </label>
        <button type="submit" class="primary">
          {say("history.go")}
        </button>
        <p role="alert">{fault}</p>
      </form>
    </Modal>
  );
}
