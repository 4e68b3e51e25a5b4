/** Files over HTTP: what a device uploads and downloads beside its connection. */

import { error, faultOf, reasonOf } from "./errors.js";
import { hex } from "./names.js";
import type { Media, Problem } from "./protocol.js";
import type { Tokens } from "./tokens.js";

/** Upload a file. Throws why it was refused, or `not_connected`. */
export async function upload(
  url: string,
  tokens: Tokens,
  file: Blob,
  type: string,
): Promise<Media> {
  const headers = { "Content-Type": type || file.type || "application/octet-stream" };
  const answer = await request(`${url}/v1/media`, tokens, { method: "POST", headers, body: file });
  return { width: 0, height: 0, ...((await answer.json()) as Omit<Media, "width" | "height">) };
}

/**
 * A file that the user may see; with `size` (64 to 1024 pixels) a thumbnail of an image. Throws
 * `damaged` when other bytes have come.
 */
export async function download(
  url: string,
  tokens: Tokens,
  media: string,
  size?: number,
): Promise<Blob> {
  const wanted = size === undefined ? "" : `?size=${size}`;
  const path = `/v1/media/${encodeURIComponent(media)}${wanted}`;
  const file = await (await request(url + path, tokens, {})).blob();
  if (size === undefined && (await hashOf(file)) !== media) {
    throw error("damaged", { media }, "what came is not what was asked for");
  }
  return file;
}

/** The name of a file. */
async function hashOf(file: Blob): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer())));
}

/** A good answer. A token that is refused is renewed once. */
async function request(url: string, tokens: Tokens, init: RequestInit): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    const headers = { ...init.headers, Authorization: `Bearer ${await tokens.get()}` };
    let answer: Response;
    try {
      answer = await fetch(url, { ...init, headers });
    } catch (failure) {
      throw error("not_connected", { reason: reasonOf(failure) });
    }
    if (answer.ok) {
      tokens.accepted();
      return answer;
    }
    if (answer.status === 401 && attempt === 0 && tokens.renew()) continue;
    const told = (await answer.json().catch(() => undefined)) as Problem | undefined;
    if (typeof told?.code === "string") throw faultOf(told);
    throw error("not_connected", { reason: `the server answered with status ${answer.status}` });
  }
}
