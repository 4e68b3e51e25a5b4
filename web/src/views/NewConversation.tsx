/** Begin a conversation with somebody, or make a group. */

import { useState } from "preact/hooks";
import type { Account } from "../model/account";
import { go } from "../model/place";
import { randomName } from "../model/random";
import { say } from "../words";
import { Modal, reason } from "./parts";

interface Props {
  readonly account: Account;
  readonly onClose: () => void;
}

export function NewConversation({ account, onClose }: Props) {
  const [fault, setFault] = useState("");
  const open = (conversation: string) => {
    onClose();
    go(conversation);
  };
  const withOne = (event: SubmitEvent) => {
    event.preventDefault();
    const client = account.client.value;
    const user = field(event, "user");
    if (!client) return;
    try {
      const conversation = client.direct(user);
      account.conversations.begin(conversation);
      open(conversation);
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  const group = async (event: SubmitEvent) => {
    event.preventDefault();
    const title = field(event, "name");
    const members = field(event, "members")
      .split(/[\s,，、]+/)
      .filter(Boolean);
    const history = field(event, "history") ? "all" : "joined";
    const name = `g-${randomName()}`;
    try {
      await account.client.value?.create(name, members, { title, history });
      await account.conversations.load();
      open(name);
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  return (
    <Modal label={say("new.title")} onClose={onClose}>
      <form onSubmit={withOne}>
        <h3>{say("new.direct")}</h3>
        <label>
          {say("new.user")}
          <input name="user" data-first required autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit" class="primary">
          {say("new.start")}
        </button>
      </form>
      <form onSubmit={(event) => void group(event)}>
        <h3>{say("new.group")}</h3>
        <label>
          {say("new.name")}
          <input name="name" required autocomplete="off" />
        </label>
        <label>
          {say("new.members")}
          <input name="members" autocomplete="off" spellcheck={false} />
        </label>
        <label class="check">
          <input name="history" type="checkbox" />
          {say("new.history")}
        </label>
        <button type="submit" class="primary">
          {say("new.make")}
        </button>
      </form>
      <p role="alert">{fault}</p>
    </Modal>
  );
}

function field(event: SubmitEvent, name: string): string {
  const form = new FormData(event.currentTarget as HTMLFormElement);
  return String(form.get(name) ?? "").trim();
}
