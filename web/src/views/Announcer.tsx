/** Tells whoever listens to the page what has come. */

import type { Account } from "../model/account";
import { textOf } from "../model/messages";

export function Announcer({ account }: { readonly account: Account }) {
  const message = account.heard.value;
  return (
    <div class="unseen" role="log" aria-live="polite" aria-label={account.user}>
      {message && (
        <p key={message.seq}>
          {message.from}: {textOf(message) || message.kind}
        </p>
      )}
    </div>
  );
}
