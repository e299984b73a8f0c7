// Each cell's accuracy and its difference from the baseline, with intervals; single seeds lie just below.
const MOST_EFFECTS = 25;

const scored = Map.groupBy(data.runs.filter((run) => run.best), (run) => run.cell);

const POINT = "Point at a mark: it is told here.";

// Means with their intervals, in the cells' colours: a trace for each colour, which is all that intervals of a trace have.
function marks(cells, of, symbol, words) {
  return [...Map.groupBy(cells, (cell) => cell.ink)].map(([ink, alike]) => {
    const values = alike.map(of);
    const reach = (end) => values.map((value) => value[end] === null ? NaN : Math.abs(value[end] - value.mean));
    return { x: values.map((value) => value.mean), y: alike.map((cell) => cell.row), mode: "markers", type: "scatter",
             hoverinfo: "none", customdata: alike.map(words),
             error_x: { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), thickness: 2,
                        width: 5, color: ink },
             marker: { size: 9, symbol: alike.map(symbol), color: ink, line: { width: 2, color: ink } } };
  });
}

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

const interval = (value, sign = "") => {
  const signed = (number) => `${sign && number > 0 ? sign : ""}${number.toFixed(2)}`;
  return value.low === null ? `${signed(value.mean)} [n/a]`
    : `${signed(value.mean)} [${signed(value.low)}, ${signed(value.high)}]`;
};

const median = (values) => values.toSorted((one, other) => one - other)[values.length >> 1];

// Where an axis ends if cells far off would flatten all others to a fifth; nothing if none would.
function near(cells, of) {
  const values = cells.map(of);
  const middle = median(values.map(({ mean }) => mean));
  const widths = values.filter(({ low }) => low !== null).map(({ low, high }) => high - low);
  const reach = Math.max(8 * median(values.map(({ mean }) => Math.abs(mean - middle))), widths.length ? 2 * median(widths) : 0, 1);
  const best = Math.max(...cells.map((cell) => cell.accuracy.mean));  // which stays in view, as the baseline does
  const kept = values.filter(({ mean }, place) => Math.abs(mean - middle) <= reach || cells[place].baseline
    || cells[place].accuracy.mean === best);
  const span = (some) => Math.max(...some.map(({ mean }) => mean)) - Math.min(...some.map(({ mean }) => mean));
  if (kept.length === values.length || span(values) < 5 * Math.max(span(kept), 1)) return undefined;
  const ends = kept.flatMap(({ mean, low, high }) => [mean, low ?? mean, high ?? mean]);
  const means = kept.map(({ mean }) => mean);
  const least = Math.max(Math.min(...ends), Math.min(...means, middle - reach));
  const most = Math.min(Math.max(...ends), Math.max(...means, middle + reach));
  const margin = 0.06 * (most - least) + 0.05;
  return [least - margin, most + margin];
}

function drawEffects(places) {
  const shown = places.slice(0, MOST_EFFECTS);
  const [chart, other] = [$("#accuracy-chart"), $("#difference-chart")];
  other.hidden = !shown.some((place) => data.cells[place].difference);
  const beside = !other.hidden && chart.offsetTop === other.offsetTop;
  const labels = shown.map((place) => fitted(data.cells[place].label, 0.42 * chart.clientWidth));
  const height = 62 + (labels.some((lines) => lines.length > 1) ? 36 : 28) * Math.max(shown.length, 2);
  const rows = shown.map((place, row) => ({ ...data.cells[place], place, row, ink: style(place).colour }));
  const side = { ...axis(""), title: undefined, tickvals: rows.map(({ row }) => row), showgrid: false,
                 ticktext: labels.map((lines) => lines.map(literal).join("<br>")), automargin: false,
                 range: [shown.length - 0.4, -0.6], fixedrange: true, ticklabelstandoff: 6 };
  // Measured here, since Plotly would draw everything a second time once it knows how wide the names are.
  const margin = { l: Math.ceil(Math.max(0, ...labels.flat().map(width))) + 16, r: 12, t: 8, b: 48 };
  const tell = (points) => { $("#effects-readout").textContent = points[0]?.customdata ?? POINT; };
  tell([]);

  const means = rows.filter((cell) => cell.accuracy);
  const differences = rows.filter((cell) => cell.difference);
  const [inView, differing] = [near(means, (cell) => cell.accuracy), near(differences, (cell) => cell.difference)];
  const outside = (mean, range) => range && (mean < range[0] || mean > range[1]);
  const beyond = means.filter((cell) => outside(cell.accuracy.mean, inView) || outside(cell.difference?.mean, differing));
  $("#effects-note").textContent = [
    !means.length && "No run is done.",
    shown.length < places.length && `The first ${shown.length} of ${places.length} cells of the table below: sort or filter it to see others.`,
    beyond.length && `Beyond an axis: ${beyond.map((cell) => `${cell.label} (${interval(cell.accuracy)}\u202f%)`).join("; ")}.`,
  ].filter(Boolean).join(" ");
  const dots = rows.flatMap((cell) => (scored.get(cell.place) ?? []).map((run) => ({ run, ...cell })));
  draw(chart, [
    { x: dots.map(({ run }) => 100 * run.best.test_accuracy), y: dots.map(({ row }) => row + 0.24), mode: "markers",
      type: "scatter", marker: { size: 5, opacity: 0.5, color: dots.map(({ ink }) => ink) }, hoverinfo: "none",
      customdata: dots.map(({ run, label }) => `${label}, seed ${run.seed}: ${percent(run.best.test_accuracy)}\u202f%`) },
    ...marks(means, (cell) => cell.accuracy, (cell) => cell.baseline ? "square" : "circle", (cell) =>
      `${cell.label}: ${interval(cell.accuracy)}\u202f%, ${counted(cell.accuracy.n, "seed")}`),
  ], { height, margin, xaxis: axis("test accuracy (%)", { automargin: false, range: inView }), yaxis: side, hovermode: "closest" }, tell);
  if (other.hidden) return;
  const clear = (cell) => cell.clear ? "clear" : "not clear, corrected for all comparisons";
  draw(other, marks(differences, (cell) => cell.difference,
    (cell) => cell.clear ? "circle" : "circle-open", (cell) =>
      `${cell.label}: ${interval(cell.difference, "+")} points, ${counted(cell.difference.n, "pair")}, ${clear(cell)}`), {
    height, margin: beside ? { ...margin, l: 12 } : margin,
    annotations: rows.filter((cell) => cell.baseline).map(({ row }) => (
      { x: 0, y: row, text: "baseline", showarrow: false, xanchor: "left", xshift: 6, font: { color: colour("muted") } })),
    xaxis: axis(beside ? "difference from the baseline (points)" : "difference (points)",
                { automargin: false, range: differing && [Math.min(differing[0], -0.05), Math.max(differing[1], 0.05)] }),
    yaxis: beside ? { ...side, showticklabels: false } : side, hovermode: "closest",
    shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1,
               line: { color: colour("muted"), width: 1.5, dash: "dot" } }] }, tell);
}
