/** Where things stand in the strip, and the way of a followed message through its lanes. */

export const COLUMN = 14;
export const ROW = 22;
/** How wide (px) the names at the left are. */
export const LABEL = 230;

/** Where the column of a SeqId begins. */
export function x(seq: number, first: number): number {
  return LABEL + (seq - first) * COLUMN;
}

/** A row that the message has reached (`has`), or has yet to. */
interface Stop {
  readonly key: string;
  readonly y: number;
  readonly has: boolean;
}

/** From the log down to the last device: a full dot where the message is, an empty one where not. */
export function Thread({ at, stops }: { readonly at: number; readonly stops: readonly Stop[] }) {
  const [top, bottom] = [stops[0]?.y ?? 0, stops.at(-1)?.y ?? 0];
  return (
    <g class="thread">
      <line x1={at} x2={at} y1={top} y2={bottom} />
      {stops.map(({ key, y, has }) => (
        <circle key={key} class={has ? "has" : "missing"} cx={at} cy={y} r={4} />
      ))}
    </g>
  );
}
