/** Pictures and files of messages, as addresses that the page can show. */

import type { Client } from "@timewire/client";

/** Thumbnails that are held; the longest unused is let go. */
const MAX_HELD_PICTURES = 200;

export class Pictures {
  readonly #held = new Map<string, Promise<string>>();

  constructor(private readonly client: () => Client | undefined) {}

  /** The address of a picture, `size` pixels large; it is fetched once. */
  thumbnail(media: string, size: number): Promise<string> {
    const key = `${media} ${size}`;
    const known = this.#held.get(key) ?? this.#fetch(media, size);
    this.#held.delete(key);
    this.#held.set(key, known);
    known.catch(() => this.#held.delete(key));
    for (const [oldest, address] of this.#held) {
      if (this.#held.size <= MAX_HELD_PICTURES) break;
      this.#held.delete(oldest);
      address.then(URL.revokeObjectURL, () => undefined);
    }
    return known;
  }

  /** Have the browser save a file under a name. */
  async saveAs(media: string, name: string): Promise<void> {
    const client = this.client();
    if (!client) return;
    const address = URL.createObjectURL(await client.download(media));
    const link = document.createElement("a");
    link.href = address;
    link.download = name || "file";
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  close(): void {
    for (const address of this.#held.values()) address.then(URL.revokeObjectURL, () => undefined);
    this.#held.clear();
  }

  async #fetch(media: string, size: number): Promise<string> {
    const client = this.client();
    if (!client) throw new Error("not connected");
    return URL.createObjectURL(await client.download(media, { size }));
  }
}
