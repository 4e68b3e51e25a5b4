/** Timelines one can see: the log, the conversations and inboxes below it, and who has come how far. */

import { useEffect } from "preact/hooks";
import { say } from "../words";
import { Charts } from "./Charts";
import { Followed } from "./Followed";
import { Strip } from "./Strip";
import { choose, chosen, exploration, fault, key, stretch, upto, watch } from "./state";

export function Explorer() {
  const open = key.value !== "";
  useEffect(() => (open ? watch() : undefined), [open]);
  const seen = exploration.value;
  if (!open || !seen) return <Gate />;
  const { first, last } = stretch.value;
  return (
    <main class="explorer">
      <header>
        <img src="/icon.svg" alt="" width="34" height="34" />
        <h1>{say("explorer")}</h1>
        <p class="soft">
          {say("explorer.sight", { first, last, head: seen.head, floor: seen.floor })}
        </p>
        <div class="buttons">
          <button type="button" onClick={() => move(-1)} disabled={first === 1}>
            {say("explorer.earlier")}
          </button>
          <button type="button" onClick={() => move(1)} disabled={last >= seen.head}>
            {say("explorer.later")}
          </button>
          <button type="button" aria-pressed={upto.value === 0} onClick={live}>
            {say("explorer.live")}
          </button>
          <label>
            {say("explorer.follow")}
            <input
              type="number"
              min={1}
              max={seen.head}
              value={chosen.value || ""}
              onChange={(event) => choose(Number(event.currentTarget.value))}
            />
          </label>
        </div>
      </header>
      <p role="alert">{fault.value}</p>
      <Strip seen={seen} first={first} last={last} />
      <div class="below">
        <Charts seen={seen} />
        <Followed />
      </div>
    </main>
  );
}

/** One stretch back or on. */
function move(direction: 1 | -1): void {
  const { first, last } = stretch.value;
  const head = exploration.value?.head ?? 0;
  const wanted = last + direction * (last - first + 1);
  upto.value = wanted >= head ? 0 : Math.max(1, wanted);
}

function live(): void {
  upto.value = 0;
}

function Gate() {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    fault.value = "";
    key.value = String(new FormData(event.currentTarget as HTMLFormElement).get("key")).trim();
  };
  return (
    <main class="login">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <h1>{say("explorer")}</h1>
      <form onSubmit={submit}>
        <label for="key">{say("explorer.key")}</label>
        <input
          id="key"
          name="key"
          type="password"
          required
          autocomplete="off"
          aria-describedby="key-hint"
        />
        <p id="key-hint">{say("explorer.key.hint")}</p>
        <div class="buttons">
          <button type="submit" class="primary">
            {say("explorer.open")}
          </button>
        </div>
      </form>
      <p role="alert">{fault.value}</p>
    </main>
  );
}
