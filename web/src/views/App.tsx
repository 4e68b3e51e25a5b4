/** The page: somebody logs in, or looks at conversations. */

import { useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { accounts, adding, choose, current, home } from "../model/accounts";
import { go, linked, place } from "../model/place";
import { language, say } from "../words";
import { Announcer } from "./Announcer";
import { Chat } from "./Chat";
import { Login } from "./Login";
import { Menu } from "./Menu";
import { Avatar, IconButton } from "./parts";
import { Sidebar } from "./Sidebar";

export function App() {
  const account = current.value;
  useSignalEffect(() => {
    for (const one of accounts.value) one.looked.value = one === current.value;
    current.value?.show(place.value);
  });
  useSignalEffect(() => {
    // A link opens where its conversation is, which may be known only a little later.
    const owner = linked.value && place.value ? home(place.value) : undefined;
    if (owner) choose(owner.user);
  });
  useSignalEffect(() => {
    const unread = accounts.value.reduce((sum, one) => sum + one.conversations.unread.value, 0);
    document.title = unread ? `(${unread}) ${say("app")}` : say("app");
  });
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "k") {
        event.preventDefault();
        document.getElementById("filter")?.focus();
      }
    };
    const looked = () => {
      for (const one of accounts.value) void one.restore().catch(() => undefined);
    };
    addEventListener("keydown", key);
    addEventListener("focus", looked);
    return () => {
      removeEventListener("keydown", key);
      removeEventListener("focus", looked);
    };
  }, []);
  if (!account || adding.value) return <Login key={language.value} />;
  return (
    <main class={place.value ? "shell in-chat" : "shell"} key={`${language.value} ${account.user}`}>
      <h1 class="unseen">{say("app")}</h1>
      <Rail />
      <Sidebar account={account} />
      <Chat account={account} />
      <Announcer account={account} />
    </main>
  );
}

/** The accounts beside each other, when there are several. */
function Rail() {
  const all = accounts.value;
  return (
    <nav class="rail" aria-label={say("accounts")}>
      {all.map(({ user, conversations: { unread } }) => (
        <button
          type="button"
          key={user}
          class="account"
          aria-current={user === current.value?.user}
          title={user}
          onClick={() => {
            const other = all.find((one) => one.user === user);
            choose(user);
            go(other?.shown.value ?? "");
          }}
        >
          <Avatar name={user} />
          {unread.value > 0 && (
            <span class="badge" aria-hidden="true">
              {unread.value}
            </span>
          )}
          <span class="unseen">{say("account.unread", { user, count: unread.value })}</span>
        </button>
      ))}
      <IconButton
        icon="plus"
        label={say("account.add")}
        onClick={() => {
          adding.value = true;
        }}
      />
      <Menu />
    </nav>
  );
}
