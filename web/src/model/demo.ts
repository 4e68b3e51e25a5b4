/** Demo accounts: a server in development mode lets them in without a token of one's own. */

/** The demo accounts of this server; none in production. */
export async function demoUsers(): Promise<readonly string[]> {
  try {
    const answer = await fetch("/demo/users");
    return answer.ok ? ((await answer.json()) as { users: string[] }).users : [];
  } catch {
    return [];
  }
}

/** A token for one of them. */
export async function demoToken(user: string): Promise<string> {
  const answer = await fetch(`/demo/tokens/${encodeURIComponent(user)}`, { method: "POST" });
  if (!answer.ok) throw new Error("the server has no demo accounts");
  return ((await answer.json()) as { token: string }).token;
}
