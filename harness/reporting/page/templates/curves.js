// Learning curves: a line per cell with the band of its seeds, and those of a single run.
const MOST_CURVES = 10;
const WRITTEN = { accuracy: (value) => `${value.toFixed(2)}\u202f%`, loss: (value) => value.toFixed(4) };
const SPIKE = { showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "dot", spikesnap: "hovered data" };
const pixels = (dash) => dash ? dash.replaceAll(",", "px,") + "px" : "solid";

const curvesOf = Map.groupBy(data.runs.filter((run) => run.status === "done" && run.curve), (run) => run.cell);

// Whole epochs alone, also where there are few.
const epochs = (longest) => axis("epoch", { ...SPIKE, spikecolor: colour("muted"), dtick: longest <= 8 ? 1 : undefined });

// Of very many runs the page has every so many epochs.
const epochAt = (place) => (place + 1) * data.curve_step;

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
  return { epoch: at.map((_, place) => epochAt(place)), seeds: seeds.length,
           mean: at.map((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
           low: at.map((values) => Math.min(...values)), high: at.map((values) => Math.max(...values)) };
}

const vertical = (metric, traces) => kind(metric) === "accuracy" ? axis("accuracy (%)")
  : axis("loss (log scale)", logarithmic(traces));

// The legend: names in full, each a switch of its curve, with the value where the mouse is.
const switchedOff = new Set();

function drawKeys(places) {
  const keys = $("#curves-keys");
  if (keys.dataset.places !== String(places)) {
    keys.dataset.places = places;
    keys.replaceChildren(...places.map((place) => el("button", { type: "button", class: "key", "data-cell": place },
      line(), el("span", { class: "name" }, data.cells[place].label), el("output", {}))));
  }
  for (const key of $$(".key", keys)) {
    const { colour: ink, dash } = style(Number(key.dataset.cell));
    $("line", key).setAttribute("stroke", ink);
    $("line", key).setAttribute("stroke-dasharray", dash);
    key.setAttribute("aria-pressed", !switchedOff.has(Number(key.dataset.cell)));
  }
}

function line() {
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const drawing = make("svg", { width: 34, height: 10, "aria-hidden": "true" });
  drawing.append(make("line", { x1: 0, x2: 34, y1: 5, y2: 5, "stroke-width": 3 }));
  return drawing;
}

function drawCurves(places) {
  const metric = $("input[name=metric]:checked").value;
  const all = places.filter((place) => curvesOf.has(place));
  const shown = all.slice(0, MOST_CURVES);
  $("#curves-note").textContent = [
    !all.length && "No run is done.",
    shown.length < all.length && `The first ${shown.length} of ${all.length} cells of the table: sort or filter it to see others.`,
    data.curve_step > 1 && `Drawn is one epoch of ${data.curve_step}; the curve.csv of a run has all.`,
  ].filter(Boolean).join(" ");
  const traces = shown.filter((place) => !switchedOff.has(place)).flatMap((place) => {
    const { epoch, mean, low, high, seeds } = band(place, metric);
    const { colour: ink, dash, marker } = style(place);
    const filled = seeds > 1 ? [{
      x: [...epoch, ...epoch.toReversed()], y: [...high, ...low.toReversed()], fill: "toself", type: "scatter",
      fillcolor: translucent(ink, 0.14), line: { width: 0 }, mode: "lines", hoverinfo: "skip" }] : [];
    return [...filled, {
      x: epoch, y: mean, mode: epoch.length > 40 ? "lines" : "lines+markers", type: "scatter", meta: place,
      line: { color: ink, dash: pixels(dash), width: 2 }, marker: { symbol: marker, size: 5 }, hoverinfo: "none" }];
  });
  drawKeys(shown);
  const tell = (points) => {
    const values = new Map(points.map((point) => [String(point.data.meta), point.y]));
    $("#curves-readout").textContent = points.length ? `Epoch ${points[0].x}:`
      : "Point at an epoch: its values are told here. A name switches its curve off and on.";
    for (const key of $$("#curves-keys .key"))
      $("output", key).textContent = values.has(key.dataset.cell) ? WRITTEN[kind(metric)](values.get(key.dataset.cell)) : "";
  };
  tell([]);
  draw("curves-chart", traces, { height: 400, hovermode: "x", xaxis: epochs(Math.max(0, ...traces.flatMap(({ x }) => x))),
                                 yaxis: vertical(metric, traces) }, tell);
}

function drawRun(target, run, quantity) {
  const trace = (split, name, ink, dash) => {
    const values = column(run, `${split}_${quantity}`);
    return { x: values.map((_, place) => epochAt(place)), y: values, name, type: "scatter", mode: "lines",
             line: { color: ink, dash, width: 2 }, hoverinfo: "none" };
  };
  const chosen = run.best && run.status === "done"
    ? [{ type: "line", x0: run.best.epoch, x1: run.best.epoch, yref: "paper", y0: 0, y1: 1,
         line: { color: colour("muted"), width: 1, dash: "dot" } }] : [];
  const told = target.nextElementSibling;
  const tell = (points) => {
    told.textContent = points.length ? `Epoch ${points[0].x}: `
      + points.map((point) => `${point.data.name} ${WRITTEN[quantity](point.y)}`).join(", ") : "";
  };
  const traces = [trace("train", "training", colour("muted"), "dash"),
                  trace("validation", "validation", style(run.cell).colour, "solid")];
  draw(target, traces, {
    height: 260, showlegend: true, hovermode: "x", xaxis: epochs(traces[0].x.at(-1) ?? 0),
    yaxis: vertical(`train_${quantity}`, traces), legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, shapes: chosen,
    uirevision: run.id,
  }, tell);
}
