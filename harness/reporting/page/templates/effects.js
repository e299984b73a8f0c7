// Each cell's accuracy and its difference from the baseline, with intervals; single seeds lie just below.
const MOST_EFFECTS = 25;

const pen = document.createElement("canvas").getContext("2d");
const scored = Map.groupBy(data.runs.filter((run) => run.best), (run) => run.cell);

function error(values) {
  const reach = (end) => values.map((value) => value[end] === null ? 0 : Math.abs(value[end] - value.mean));
  return { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), thickness: 2, width: 5 };
}

const interval = (value, sign = "") => {
  const signed = (number) => `${sign && number > 0 ? sign : ""}${number.toFixed(2)}`;
  return value.low === null ? `${signed(value.mean)} [n/a]`
    : `${signed(value.mean)} [${signed(value.low)}, ${signed(value.high)}]`;
};

function drawEffects(places) {
  const shown = places.slice(0, MOST_EFFECTS);
  $("#effects-note").textContent = shown.length < places.length
    ? `The first ${shown.length} of ${places.length} cells of the table below: sort or filter it to see others.` : "";
  const height = 90 + 26 * Math.max(shown.length, 2);
  const narrow = innerWidth < 600;
  const labels = shown.map((place) => shorten(data.cells[place].label, narrow ? 22 : 34));
  const names = labels.map(literal);
  const rows = shown.map((place, row) => ({ ...data.cells[place], place, row }));
  const side = { ...axis(""), title: undefined, tickvals: rows.map(({ row }) => row), ticktext: names, showgrid: false,
                 range: [shown.length - 0.4, -0.6], fixedrange: true, ticklabelstandoff: 6, automargin: false };
  // Measured here, since Plotly would draw everything a second time once it knows how wide the names are.
  pen.font = `12.5px ${getComputedStyle(document.body).fontFamily}`;
  const widest = Math.max(0, ...labels.map((label) => pen.measureText(label).width));
  const margin = { l: Math.ceil(widest) + 16, r: 12, t: 8, b: 48 };

  const means = rows.filter((cell) => cell.accuracy);
  const dots = rows.flatMap(({ place, row }) => (scored.get(place) ?? []).map((run) => ({ run, row })));
  draw("accuracy-chart", [
    { x: dots.map(({ run }) => 100 * run.best.test_accuracy), y: dots.map(({ row }) => row + 0.24), mode: "markers",
      type: "scatter", marker: { size: 5, color: translucent(colour("muted"), 0.55) },
      text: dots.map(({ run }) => `seed ${literal(String(run.seed))}: ${percent(run.best.test_accuracy)}\u202f%`),
      hovertemplate: "%{text}<extra></extra>" },
    { x: means.map((cell) => cell.accuracy.mean), y: means.map((cell) => cell.row), mode: "markers", type: "scatter",
      error_x: { ...error(means.map((cell) => cell.accuracy)), color: colour("accent") },
      marker: { size: 9, symbol: means.map((cell) => cell.baseline ? "square" : "circle"), color: colour("accent") },
      text: means.map((cell) => `<b>${literal(shorten(cell.label, 90))}</b><br>${interval(cell.accuracy)}\u202f%<br>`
        + `${cell.accuracy.n} seeds`), hovertemplate: "%{text}<extra></extra>" },
  ], { height, margin, xaxis: axis("test accuracy (%)", { automargin: false }), yaxis: side, hovermode: "closest" });

  const compared = rows.filter((cell) => cell.difference);
  const chart = $("#difference-chart");
  chart.hidden = compared.length === 0;
  if (chart.hidden) return;
  const clear = compared.map((cell) => cell.clear);
  draw("difference-chart", [
    { x: compared.map((cell) => cell.difference.mean), y: compared.map((cell) => cell.row), mode: "markers",
      type: "scatter", error_x: { ...error(compared.map((cell) => cell.difference)), color: colour("accent") },
      marker: { size: 9, symbol: clear.map((sure) => sure ? "circle" : "circle-open"), color: colour("accent"),
                line: { width: 2, color: colour("accent") } },
      text: compared.map((cell) => `<b>${literal(shorten(cell.label, 90))}</b><br>${interval(cell.difference, "+")}`
        + ` points<br>${cell.difference.n} pairs`), hovertemplate: "%{text}<extra></extra>" },
  ], { height, margin, annotations: rows.filter((cell) => cell.baseline).map(({ row }) => (
         { x: 0, y: row, text: "baseline", showarrow: false, xanchor: "left", xshift: 6, font: { color: colour("muted") } })),
       xaxis: axis("difference from the baseline (points)", { automargin: false }), yaxis: side, hovermode: "closest",
       shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1,
                  line: { color: colour("muted"), width: 1.5, dash: "dot" } }] });
}
