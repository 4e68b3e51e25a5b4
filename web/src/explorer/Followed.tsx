/** A message on its way: stored, passed by consumers, in inboxes, at devices. */

import { Name } from "../views/parts";
import { moment, say } from "../words";
import type { Way } from "./server";
import { way } from "./state";

export function Followed() {
  const found = way.value;
  if (!found) return <section class="followed">{say("explorer.choose")}</section>;
  const { entry } = found;
  return (
    <section class="followed" aria-label={say("explorer.followed", { seq: entry.seq })}>
      <h2>{say("explorer.followed", { seq: entry.seq })}</h2>
      <p>
        {say("explorer.stored", {
          time: moment(entry.time),
          conversation: entry.conversation,
          bytes: entry.bytes,
        })}
      </p>
      {entry.kind && (
        <p>
          <Name of={entry.sender} />: {entry.kind}
        </p>
      )}
      <ul>
        {Object.entries(found.consumers).map(([name, position]) => (
          <li key={name}>
            <Sign yes={position >= entry.seq} /> {name}
          </li>
        ))}
      </ul>
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
          <Name of={one.user} />
          <span>{say(one.inbox ? "explorer.in.inbox" : "explorer.not.in.inbox")}</span>
          {one.devices.map((device) => (
            <span key={device.device}>
              <Sign yes={device.position >= of.entry.seq} /> {device.device}
            </span>
          ))}
        </li>
      ))}
    </ul>
  );
}

function Sign({ yes }: { readonly yes: boolean }) {
  return (
    <strong role="img" aria-label={say(yes ? "explorer.has" : "explorer.has.not")}>
      {yes ? "✓" : "…"}
    </strong>
  );
}
