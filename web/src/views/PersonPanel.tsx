/** The other one of a direct conversation: whether one takes messages from them. */

import { useState } from "preact/hooks";
import type { Account } from "../model/account";
import { say } from "../words";
import { Modal, reason } from "./parts";

interface Props {
  readonly account: Account;
  readonly user: string;
  readonly onClose: () => void;
}

export function PersonPanel({ account, user, onClose }: Props) {
  const [fault, setFault] = useState("");
  const isBlocked = account.people.blocked.value.includes(user);
  const toggle = async () => {
    try {
      await account.client.value?.block(user, !isBlocked);
      setFault("");
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  return (
    <Modal label={user} onClose={onClose}>
      <p>{say(isBlocked ? "person.blocked" : "person.block.hint", { user })}</p>
      <p role="alert">{fault}</p>
      <button type="button" class={isBlocked ? "" : "danger"} onClick={() => void toggle()}>
        {say(isBlocked ? "person.unblock" : "person.block", { user })}
      </button>
    </Modal>
  );
}
