/** The accounts that are logged in on this page, and which of them is looked at. */

import { computed, effect, signal } from "@preact/signals";
import { Account, type Credentials, storeOf } from "./account";
import { demoToken } from "./demo";
import { randomName } from "./random";
import { elsewhere, forget, recall, save } from "./saved";

export const accounts = signal<readonly Account[]>([]);
const chosen = signal(recall<string>("current") ?? "");
/** The account that is looked at. */
export const current = computed(
  () => accounts.value.find(({ user }) => user === chosen.value) ?? accounts.value[0],
);
/** Somebody wants to log in, beside the accounts that are there. */
export const adding = signal(false);

/** Log in all accounts that were logged in before. */
export function resume(): void {
  accounts.value = saved().map(start);
  effect(() => save("current", current.value?.user));
  elsewhere("accounts", follow);
}

/** Another tab has logged an account in or out. */
function follow(): void {
  const all = saved();
  const kept = accounts.value.filter((one) => all.some(({ user }) => user === one.user));
  for (const gone of accounts.value) if (!kept.includes(gone)) void gone.close();
  const added = all.filter(({ user }) => !kept.some((one) => one.user === user));
  accounts.value = [...kept, ...added.map(start)];
}

/** The account that a conversation is open to: the one that is looked at, if it can be. */
export function home(conversation: string): Account | undefined {
  const having = accounts.value.filter((account) => account.has(conversation));
  return having.find((account) => account === current.value) ?? having[0];
}

/** Look at another account. */
export function choose(user: string): void {
  chosen.value = user;
}

/** Log in with a token. It says who the user is; the server says whether that is true. */
export function logIn(token: string, demo = false): void {
  const { user, device } = claims(token);
  const known = saved().find((one) => one.user === user);
  const name = device ?? known?.device ?? `${browser()}-${randomName().slice(0, 8)}`;
  const credentials = { user, device: name, token, demo };
  const old = accounts.value.find((account) => account.user === user);
  void old?.close();
  save("accounts", [...saved().filter((one) => one.user !== user), credentials]);
  accounts.value = [...accounts.value.filter((one) => one !== old), start(credentials)];
  chosen.value = user;
  adding.value = false;
}

/** Log out, and forget on this browser all that the account had here. */
export async function logOut(account: Account): Promise<void> {
  save(
    "accounts",
    saved().filter(({ user }) => user !== account.user),
  );
  accounts.value = accounts.value.filter((one) => one !== account);
  await account.close();
  forget(`list:${account.user}`);
  forget(`draft:${account.user}:`);
  forget(`refused:${account.user}`);
  indexedDB.deleteDatabase(`timewire:${storeOf(account.user)}`);
}

function saved(): readonly Credentials[] {
  return recall<Credentials[]>("accounts") ?? [];
}

function start(credentials: Credentials): Account {
  const account = new Account(credentials, () => demoToken(credentials.user));
  void account.run();
  return account;
}

/** What this browser is called, for a user to know the device by. */
function browser(): string {
  const { userAgent } = navigator;
  const known = ["Firefox", "Edg", "OPR", "Chrome", "Safari"].find((one) =>
    userAgent.includes(one),
  );
  return { Edg: "edge", OPR: "opera" }[known ?? ""] ?? known?.toLowerCase() ?? "web";
}

/** What a token says of itself. Throws when it is none. */
function claims(token: string): { readonly user: string; readonly device?: string } {
  const [, payload = ""] = token.split(".");
  const bytes = atob(payload.replace(/-/g, "+").replace(/_/g, "/"));
  const text = new TextDecoder().decode(Uint8Array.from(bytes, (one) => one.charCodeAt(0)));
  const { sub, device } = JSON.parse(text) as { sub?: unknown; device?: unknown };
  if (typeof sub !== "string" || !sub) throw new Error("no `sub`");
  return { user: sub, ...(typeof device === "string" ? { device } : {}) };
}
