/** Where the user is: the page's address names the conversation. */

import { signal } from "@preact/signals";

const PREFIX = "/c/";

/** The conversation that the address names; "" for none. */
export const place = signal(here());

/** Whether the address was given from outside: by a link, or the browser's own buttons. */
export const linked = signal(true);

/** Go to a conversation. */
export function go(conversation: string): void {
  const path = conversation ? PREFIX + encodeURIComponent(conversation) : "/";
  if (path !== location.pathname) history.pushState(null, "", path);
  linked.value = false;
  place.value = conversation;
}

addEventListener("popstate", () => {
  linked.value = true;
  place.value = here();
});

function here(): string {
  if (!location.pathname.startsWith(PREFIX)) return "";
  try {
    return decodeURIComponent(location.pathname.slice(PREFIX.length));
  } catch {
    return "";
  }
}
