// Learning curves: a line per cell with the band of its seeds, and those of a single run.
const MOST_CURVES = 10;
const HOVER = { accuracy: "%{y:.2f}\u202f%", loss: "%{y:.4f}" };

const curvesOf = Map.groupBy(data.runs.filter((run) => run.status === "done" && run.curve), (run) => run.cell);

const kind = (metric) => metric.endsWith("accuracy") ? "accuracy" : "loss";

function column(run, metric) {
  const values = run.curve[data.curve_columns.indexOf(metric)];
  return kind(metric) === "accuracy" ? values.map((value) => value === null ? null : 100 * value) : values;
}

// Over seeds, to the last epoch that all of them reached: going on with the rest would show their selection.
function band(place, metric) {
  const seeds = curvesOf.get(place).map((run) => column(run, metric));
  const epochs = Math.min(...seeds.map((values) => values.length));
  const at = Array.from({ length: epochs }, (_, epoch) => seeds.map((values) => values[epoch]));
  return { epoch: at.map((_, epoch) => epoch + 1), seeds: seeds.length,
           mean: at.map((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
           low: at.map((values) => Math.min(...values)), high: at.map((values) => Math.max(...values)) };
}

const vertical = (metric) => kind(metric) === "accuracy" ? axis("accuracy (%)")
  : axis("loss (log scale)", logarithmic);

function drawCurves(places) {
  const metric = $("input[name=metric]:checked").value;
  const all = places.filter((place) => curvesOf.has(place));
  const shown = all.slice(0, MOST_CURVES);
  $("#curves-note").textContent = shown.length < all.length
    ? `The first ${shown.length} of ${all.length} cells of the table: sort or filter it to see others.` : "";
  const traces = shown.flatMap((place) => {
    const { epoch, mean, low, high, seeds } = band(place, metric);
    const { colour: ink, dash, marker } = style(place);
    const name = literal(shorten(data.cells[place].label, 48));
    const group = `cell${place}`;
    const filled = seeds > 1 ? [{
      x: [...epoch, ...epoch.toReversed()], y: [...high, ...low.toReversed()], fill: "toself", type: "scatter",
      fillcolor: translucent(ink, 0.14), line: { width: 0 }, mode: "lines", hoverinfo: "skip", legendgroup: group,
      showlegend: false }] : [];
    return [...filled, {
      x: epoch, y: mean, name, legendgroup: group, mode: epoch.length > 40 ? "lines" : "lines+markers", type: "scatter",
      line: { color: ink, dash, width: 2 }, marker: { symbol: marker, size: 5 },
      customdata: epoch.map((_, at) => [low[at], high[at]]),
      hovertemplate: `${HOVER[kind(metric)]}<extra>${name}</extra>` }];
  });
  const keys = Math.ceil(shown.length / (innerWidth < 600 ? 1 : 3));
  draw("curves-chart", traces, {
    height: 400 + 22 * keys, showlegend: true, hovermode: "x unified", xaxis: axis("epoch"), yaxis: vertical(metric),
    legend: { orientation: "h", x: 0, y: -0.18, yanchor: "top", itemwidth: 40 },
  });
}

function drawRun(target, run, quantity) {
  const trace = (split, ink, dash) => {
    const values = column(run, `${split}_${quantity}`);
    return { x: values.map((_, epoch) => epoch + 1), y: values, name: split, type: "scatter", mode: "lines",
             line: { color: ink, dash, width: 2 }, hovertemplate: `${HOVER[quantity]}<extra>${split}</extra>` };
  };
  const chosen = run.best && run.status === "done"
    ? [{ type: "line", x0: run.best.epoch, x1: run.best.epoch, yref: "paper", y0: 0, y1: 1,
         line: { color: colour("muted"), width: 1, dash: "dot" } }] : [];
  return draw(target, [trace("train", colour("muted"), "dash"), trace("validation", colour("accent"), "solid")], {
    height: 260, showlegend: true, hovermode: "x unified", xaxis: axis("epoch"), yaxis: vertical(`train_${quantity}`),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, shapes: chosen, uirevision: run.id,
  });
}
