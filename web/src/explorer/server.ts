/** The server's answers about its timelines, as its `/docs` describe them; for administrators. */

export type Mode = "write" | "read" | "push";

export interface Entry {
  readonly seq: number;
  readonly time: number;
  readonly conversation: string;
  readonly sender: string;
  readonly kind: string;
  readonly bytes: number;
  readonly mode: Mode;
}

export interface Lane {
  readonly conversation: string;
  readonly kind: string;
  readonly members: number;
  readonly epochs: readonly { readonly since: number; readonly mode: Mode }[];
}

export interface Marker {
  readonly user: string;
  readonly device: string;
  readonly live: boolean;
  readonly position: number;
}

export interface Cost {
  readonly writes: number;
  readonly reads: number;
}

export interface Timing {
  readonly count: number;
  readonly seconds: number;
}

export interface Exploration {
  readonly epoch: string;
  readonly now: number;
  readonly head: number;
  readonly floor: number;
  readonly entries: readonly Entry[];
  readonly lanes: readonly Lane[];
  readonly inboxes: readonly { readonly user: string; readonly seqs: readonly number[] }[];
  readonly consumers: Readonly<Record<string, number>>;
  readonly devices: readonly Marker[];
  readonly more_devices: boolean;
  readonly amplification: {
    readonly messages: number;
    readonly pulls: number;
    readonly actual: Cost;
    readonly write: Cost;
    readonly read: Cost;
  };
  readonly pushes: number;
  readonly commits: Timing;
  readonly deliveries: Timing;
}

export interface Way {
  readonly entry: Entry;
  readonly consumers: Readonly<Record<string, number>>;
  readonly receiver_count: number;
  readonly receivers: readonly {
    readonly user: string;
    readonly inbox: boolean;
    readonly devices: readonly Marker[];
  }[];
}

/** A stretch of the log that ends at a SeqId (0: at its head), and what stands beside it. */
export function explore(key: string, upto: number, limit: number): Promise<Exploration> {
  return ask<Exploration>(key, `/v1/explorer?upto=${upto}&limit=${limit}`);
}

/** The way of one message. */
export function follow(key: string, seq: number): Promise<Way> {
  return ask<Way>(key, `/v1/explorer/${seq}`);
}

async function ask<Answer>(key: string, path: string): Promise<Answer> {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${key}` } });
  const body = (await answer.json()) as Answer & { message?: string };
  if (!answer.ok) throw new Error(body.message ?? answer.statusText);
  return body;
}
