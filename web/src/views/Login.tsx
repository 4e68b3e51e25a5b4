/** Who are you? A token says it, or in development mode a demo account. */

import { useEffect, useState } from "preact/hooks";
import { accounts, adding, logIn } from "../model/accounts";
import { demoToken, demoUsers } from "../model/demo";
import { say } from "../words";
import { Avatar, Name, reason } from "./parts";

export function Login() {
  const [demo, setDemo] = useState<readonly string[]>([]);
  const [fault, setFault] = useState("");
  useEffect(() => void demoUsers().then(setDemo), []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    try {
      logIn(String(form.get("token")).trim());
    } catch {
      setFault(say("login.bad"));
    }
  };
  const enter = async (user: string) => {
    try {
      logIn(await demoToken(user), true);
    } catch (failure) {
      setFault(say("failed", { reason: reason(failure) }));
    }
  };
  return (
    <main class="login">
      <img src="/icon.svg" alt="" width="56" height="56" />
      <h1>{say("login.title")}</h1>
      {demo.length > 0 && (
        <section aria-labelledby="demo">
          <h2 id="demo">{say("login.demo")}</h2>
          <p>{say("login.demo.hint")}</p>
          <ul class="demo">
            {demo.map((user) => (
              <li key={user}>
                <button
                  type="button"
                  aria-label={say("login.as", { user })}
                  onClick={() => void enter(user)}
                >
                  <Avatar name={user} />
                  <Name of={user} />
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
      <form onSubmit={submit}>
        <label for="token">{say("login.token")}</label>
        <input
          id="token"
          name="token"
          required
          autocomplete="off"
          spellcheck={false}
          aria-describedby="token-hint"
        />
        <p id="token-hint">{say("login.hint")}</p>
        <div class="buttons">
          {accounts.value.length > 0 && (
            <button
              type="button"
              onClick={() => {
                adding.value = false;
              }}
            >
              {say("cancel")}
            </button>
          )}
          <button type="submit" class="primary">
            {say("login.go")}
          </button>
        </div>
      </form>
      <p role="alert">{fault}</p>
    </main>
  );
}
