/** What happens right now: rates and times, and what the way of delivering costs. */

import { say, type Word } from "../words";
import type { Cost, Exploration } from "./server";
import { line } from "./shapes";
import { type Beat, beats } from "./state";

const WIDTH = 240;
const HEIGHT = 56;

const CHARTS: readonly (readonly [keyof Beat, Word])[] = [
  ["messages", "explorer.messages"],
  ["pushes", "explorer.pushes"],
  ["written", "explorer.written"],
  ["commit", "explorer.commit"],
  ["delivery", "explorer.delivery"],
];

export function Charts({ seen }: { readonly seen: Exploration }) {
  return (
    <section class="charts" aria-label={say("explorer.charts")}>
      {CHARTS.map(([name, word]) => (
        <Chart key={name} title={say(word)} values={beats.value.map((beat) => beat[name])} />
      ))}
      <Amplification of={seen.amplification} />
    </section>
  );
}

function Chart(props: { readonly title: string; readonly values: readonly (number | null)[] }) {
  const { title, values } = props;
  const known = values.filter((value) => value !== null);
  const newest = known.at(-1);
  const curve = line(values, WIDTH, HEIGHT);
  const [begin, end] = [curve.slice(1).split(" ")[0], curve.split("L").at(-1)?.split(" ")[0]];
  return (
    <figure>
      <figcaption>
        <span>{title}</span>
        <strong>{newest === undefined ? "–" : rounded(newest)}</strong>
        <small>
          {known.length > 0 && say("explorer.most", { most: rounded(Math.max(...known)) })}
        </small>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="axis" d={`M0 ${HEIGHT - 1}H${WIDTH}`} />
        {curve.includes("L") && (
          <path class="area" d={`${curve}L${end} ${HEIGHT}L${begin} ${HEIGHT}z`} />
        )}
        <path class="curve" d={curve} />
      </svg>
    </figure>
  );
}

/** A number as short as it is told apart from its neighbours. */
function rounded(value: number): string {
  if (value === 0 || value >= 100) return String(Math.round(value));
  return value.toFixed(value >= 10 ? 1 : 2);
}

function Amplification({ of }: { readonly of: Exploration["amplification"] }) {
  const rows: readonly (readonly [Word, Cost])[] = [
    ["explorer.actual", of.actual],
    ["explorer.pure.write", of.write],
    ["explorer.pure.read", of.read],
  ];
  const each = (count: number, by: number) => (by > 0 ? (count / by).toFixed(2) : "–");
  return (
    <figure>
      <table>
        <caption>{say("explorer.amplification")}</caption>
        <thead>
          <tr>
            <th scope="col">{say("explorer.way")}</th>
            <th scope="col">{say("explorer.writes")}</th>
            <th scope="col">{say("explorer.reads")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([word, cost]) => (
            <tr key={word}>
              <th scope="row">{say(word)}</th>
              <td>{each(cost.writes, of.messages)}</td>
              <td>{each(cost.reads, of.pulls)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
