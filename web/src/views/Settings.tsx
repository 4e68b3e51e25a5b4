/** What a user has set for all devices: presence, who is blocked, and the devices themselves. */

import type { DeviceState } from "@timewire/client";
import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import { moment, say } from "../words";
import { IconButton, Name, reason } from "./parts";

type Attempt = (work: PromiseLike<unknown> | undefined) => Promise<void>;

export function Settings({ account }: { readonly account: Account }) {
  const [fault, setFault] = useState("");
  const attempt: Attempt = async (work) => {
    try {
      await work;
      setFault("");
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  return (
    <>
      <Privacy account={account} attempt={attempt} />
      <Devices account={account} attempt={attempt} />
      <p role="alert">{fault}</p>
    </>
  );
}

interface Props {
  readonly account: Account;
  readonly attempt: Attempt;
}

function Privacy({ account, attempt }: Props) {
  const { client, people, user } = account;
  const shown = account.conversations.get(`self:${user}`)?.presence !== "nobody";
  const show = async (on: boolean) => {
    await client.value?.showPresence(on ? "all" : "nobody");
    await account.conversations.load();
  };
  return (
    <section aria-labelledby="privacy">
      <h3 id="privacy">{say("privacy")}</h3>
      <label class="check">
        <input
          type="checkbox"
          checked={shown}
          onChange={(event) => void attempt(show(event.currentTarget.checked))}
        />
        {say("presence.show")}
      </label>
      <h4>{say("blocked")}</h4>
      {!people.blocked.value.length && <p class="soft">{say("blocked.none")}</p>}
      <ul class="people">
        {people.blocked.value.map((name) => (
          <li key={name}>
            <span class="title">
              <Name of={name} />
            </span>
            <button
              type="button"
              aria-label={say("person.unblock", { user: name })}
              onClick={() => void attempt(client.value?.block(name, false))}
            >
              {say("blocked.lift")}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Devices({ account, attempt }: Props) {
  const [devices, setDevices] = useState<readonly DeviceState[]>([]);
  const { client, device } = account;
  useEffect(() => void attempt(client.value?.devices().then(setDevices)), []);
  const logOut = (name: string) => attempt(client.value?.logOut(name).then(setDevices));
  return (
    <section aria-labelledby="devices">
      <h3 id="devices">{say("devices")}</h3>
      <ul class="people">
        {devices.map(({ device: name, online, seen }) => (
          <li key={name}>
            <span class="title">
              <Name of={name} />
              <small>
                {name === device
                  ? say("devices.this")
                  : online
                    ? say("online")
                    : say("seen", { when: moment(seen) })}
              </small>
            </span>
            {name !== device && (
              <IconButton
                icon="close"
                label={say("devices.out", { device: name })}
                onClick={() => void logOut(name)}
              />
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
