/** A group: its name, its members and their roles. */

import type { ConversationState, Member, Role } from "@timewire/client";
import { useState } from "preact/hooks";
import type { Account } from "../model/account";
import { say } from "../words";
import { Avatar, IconButton, Modal, Name, reason } from "./parts";

const ROLES = ["owner", "admin", "member"] as const;

interface Props {
  readonly account: Account;
  readonly state: ConversationState;
  readonly onClose: () => void;
}

export function GroupPanel({ account, state, onClose }: Props) {
  const [fault, setFault] = useState("");
  const { conversation } = state;
  const client = account.client.value;
  const roster = account.people.rosters.value.get(conversation) ?? [];
  const admin = state.role !== "member";
  const attempt = async (work: PromiseLike<unknown> | undefined) => {
    try {
      await work;
      setFault("");
      await account.people.load(conversation);
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  const submit = (name: string, work: (value: string) => PromiseLike<unknown> | undefined) => {
    return (event: SubmitEvent) => {
      event.preventDefault();
      const form = event.currentTarget as HTMLFormElement;
      const value = String(new FormData(form).get(name)).trim();
      if (value) void attempt(work(value));
      form.reset();
    };
  };
  return (
    <Modal label={say("group")} onClose={onClose}>
      {admin && (
        <form
          class="line"
          onSubmit={submit("title", (title) => client?.update(conversation, { title }))}
        >
          <label>
            {say("group.title")}
            <input name="title" defaultValue={state.title} autocomplete="off" />
          </label>
          <button type="submit">{say("save")}</button>
        </form>
      )}
      {state.member && (admin || state.invite === "members") && (
        <form class="line" onSubmit={submit("user", (user) => client?.add(conversation, [user]))}>
          <label>
            {say("group.add")}
            <input name="user" autocomplete="off" spellcheck={false} />
          </label>
          <button type="submit">{say("group.add.go")}</button>
        </form>
      )}
      <p role="alert">{fault}</p>
      <h3>{say("group.people")}</h3>
      <ul class="people">
        {roster.map((member) => (
          <Person
            key={member.name}
            account={account}
            member={member}
            state={state}
            onRole={(role) => void attempt(client?.role(conversation, member.name, role))}
            onRemove={() => void attempt(client?.remove(conversation, [member.name]))}
          />
        ))}
      </ul>
      {state.member && (
        <button
          type="button"
          class="danger"
          onClick={() => void attempt(client?.leave(conversation)).then(onClose)}
        >
          {say("group.leave")}
        </button>
      )}
    </Modal>
  );
}

interface PersonProps {
  readonly account: Account;
  readonly member: Member;
  readonly state: ConversationState;
  readonly onRole: (role: Role) => void;
  readonly onRemove: () => void;
}

function Person({ account, member, state, onRole, onRemove }: PersonProps) {
  const { name, role } = member;
  const other = name !== account.user;
  return (
    <li>
      <Avatar name={name} />
      <span class="title">
        <Name of={name} />
      </span>
      {state.role === "owner" && other ? (
        <select
          aria-label={say("group.role", { user: name })}
          value={role}
          onChange={(event) => onRole(event.currentTarget.value as Role)}
        >
          {ROLES.map((one) => (
            <option key={one} value={one}>
              {say(`role.${one}`)}
            </option>
          ))}
        </select>
      ) : (
        <small>{say(`role.${role}`)}</small>
      )}
      {state.role !== "member" && other && (
        <IconButton icon="close" label={say("group.remove", { user: name })} onClick={onRemove} />
      )}
    </li>
  );
}
