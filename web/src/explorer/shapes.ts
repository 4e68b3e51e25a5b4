/** What is drawn, as numbers: no page is needed to know it. */

import type { Lane, Mode } from "./server";

/** Looks that a chart shows. */
export const SHOWN_LOOKS = 120;

/** The modes of a conversation in a stretch, each with the SeqIds from and to which it holds. */
export function epochs(
  lane: Lane,
  first: number,
  last: number,
): { readonly from: number; readonly to: number; readonly mode: Mode }[] {
  const begins = [{ since: 0, mode: "write" as Mode }, ...lane.epochs];
  return begins
    .map((epoch, number) => ({
      from: Math.max(first, epoch.since + 1),
      to: Math.min(last, begins[number + 1]?.since ?? last),
      mode: epoch.mode,
    }))
    .filter((span) => span.from <= span.to);
}

/** A line through values, from the left; what is not known is left out. */
export function line(values: readonly (number | null)[], width: number, height: number): string {
  const top = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const step = width / (SHOWN_LOOKS - 1);
  const points = values.flatMap((value, number) =>
    value === null
      ? []
      : [`${(number * step).toFixed(1)} ${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`],
  );
  return points.length > 0 ? `M${points.join("L")}` : "";
}
