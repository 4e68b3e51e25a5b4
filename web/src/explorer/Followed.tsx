/** A message on its way: sent, stored, passed by what follows the log, in inboxes, at devices. */

import { Name } from "../views/parts";
import { moment, say } from "../words";
import type { Way } from "./server";
import { way } from "./state";

export function Followed() {
  const found = way.value;
  if (!found) {
    return (
      <section class="followed">
        <p class="hint">{say("explorer.choose")}</p>
      </section>
    );
  }
  const { entry } = found;
  const { conversation, bytes } = entry;
  return (
    <section class="followed" aria-label={say("explorer.followed", { seq: entry.seq })}>
      <h2>{say("explorer.followed", { seq: entry.seq })}</h2>
      <ol class="way">
        {entry.kind && (
          <li class="yes">
            <strong>{say("explorer.sent")}</strong> <Name of={entry.sender} /> · {entry.kind}
          </li>
        )}
        <li class="yes">
          {say("explorer.stored", { time: moment(entry.time), conversation, bytes })}
        </li>
        {Object.entries(found.consumers).map(([name, position]) => (
          <li key={name} class={position >= entry.seq ? "yes" : ""}>
            <Sign yes={position >= entry.seq} /> {name}
          </li>
        ))}
        <li class="yes">{say(`explorer.${entry.mode}`)}</li>
      </ol>
      <h3>{say("explorer.receivers", { count: found.receiver_count })}</h3>
      <Receivers of={found} />
    </section>
  );
}

function Receivers({ of }: { readonly of: Way }) {
  return (
    <ul class="receivers">
      {of.receivers.map((one) => (
        <li key={one.user}>
          <strong>
            <Name of={one.user} />
          </strong>
          <span class="soft">{say(one.inbox ? "explorer.in.inbox" : "explorer.not.in.inbox")}</span>
          {one.devices.map((device) => (
            <span key={device.device} class="device">
              <Sign yes={device.position >= of.entry.seq} /> {device.device}
            </span>
          ))}
          {!one.devices.length && <span class="soft">{say("explorer.away")}</span>}
        </li>
      ))}
    </ul>
  );
}

function Sign({ yes }: { readonly yes: boolean }) {
  return (
    <strong
      role="img"
      class={yes ? "sign yes" : "sign"}
      aria-label={say(yes ? "explorer.has" : "explorer.has.not")}
    >
      {yes ? "✓" : "…"}
    </strong>
  );
}
