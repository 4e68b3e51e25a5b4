/** What is in a text: links, mentions, and the parts that a search has found. Never markup. */

/** A piece of a text. `href`: it is a link, of a kind that may be followed. */
export interface Piece {
  readonly text: string;
  readonly href?: string;
  readonly mention?: boolean;
}

const SAFE_PROTOCOLS = ["http:", "https:", "mailto:"];
const LINK =
  /(?<![\w:/.-])(?:https?:\/\/|mailto:)[^\s<>"'`]+|(?<![^\s(（])@[^\s@:/,.!?()，。！？（）]+(?:\.[^\s@:/,.!?()，。！？（）]+)*/giu;
/** What ends a sentence rather than a link. */
const TAIL = /[.,;:!?)\]}，。；：！？）】」]+$/u;

/** Where a link may lead: its address, if it is of a kind that is followed. */
export function safeHref(address: string): string | undefined {
  try {
    const url = new URL(address);
    return SAFE_PROTOCOLS.includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** A text cut into plain pieces, links and mentions; joined they are the text. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let done = 0;
  const plain = (until: number) => {
    if (until > done) found.push({ text: text.slice(done, until) });
    done = until;
  };
  for (const match of text.matchAll(LINK)) {
    const isMention = match[0].startsWith("@");
    const said = isMention ? match[0] : trimmed(match[0]);
    const href = isMention ? undefined : safeHref(said);
    if (!isMention && !href) continue;
    plain(match.index);
    found.push(href ? { text: said, href } : { text: said, mention: true });
    done = match.index + said.length;
  }
  plain(text.length);
  return found;
}

/** A link without the punctuation behind it; a bracket that was opened in it stays. */
function trimmed(link: string): string {
  const bare = link.replace(TAIL, "");
  return bare.includes("(") && link.slice(bare.length).startsWith(")") ? `${bare})` : bare;
}

/** Those of the names that a text speaks to with `@`; `*` for `@all`. */
export function mentions(text: string, names: readonly string[]): string[] {
  const spoken = new Set(
    pieces(text)
      .filter(({ mention }) => mention)
      .map((piece) => piece.text.slice(1)),
  );
  const found = names.filter((name) => spoken.has(name));
  return spoken.has("all") ? ["*", ...found] : found;
}

/** A snippet cut where matches begin and end; the offsets count code points. */
export function marked(
  snippet: string,
  matches: readonly (readonly [number, number])[],
): { text: string; hit: boolean }[] {
  const points = Array.from(snippet);
  const parts: { text: string; hit: boolean }[] = [];
  let done = 0;
  const cut = (until: number, hit: boolean) => {
    if (until > done) parts.push({ text: points.slice(done, until).join(""), hit });
    done = Math.max(done, until);
  };
  for (const [from, to] of matches) {
    cut(from, false);
    cut(to, true);
  }
  cut(points.length, false);
  return parts;
}

/** A number of bytes for people. */
export function sizeOf(bytes: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) {
    bytes /= 1000;
    at += 1;
  }
  return `${bytes < 10 && at ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}
