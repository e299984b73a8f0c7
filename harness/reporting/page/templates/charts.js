// What all charts share. Plotly reads text as markup of its own, so text from records is escaped for it.
const charts = new Map();

const literal = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Colours are those of the figures, a baseline's black is white on dark ground; dashes, in pixels, and markers tell more
// cells apart than have a colour of their own.
const DASHES = ["", "8,5", "8,4,2,4", "2,4", "9,3,2,3,2,3", "5,3"];
const MARKERS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"];

function style(place) {
  const { baseline, colour: own } = data.cells[place];
  const round = Math.floor(place / DASHES.length);
  return { colour: baseline && isDark() ? colour("text") : own,
           dash: DASHES[(place + round) % DASHES.length], marker: MARKERS[(place + 2 * round) % MARKERS.length] };
}

// Labels are written in full where there is room: on one line, on two, cut only then.
const pen = document.createElement("canvas").getContext("2d");
pen.font = `12.5px ${getComputedStyle(document.body).fontFamily}`;
const width = (text) => pen.measureText(text).width;

function fitted(text, room) {
  if (width(text) <= room) return [text];
  const words = text.split(/(?<=, |\s)/);
  const breaks = words.map((_, at) => [words.slice(0, at).join("").trim(), words.slice(at).join("")])
    .filter((lines) => lines.every((line) => line && width(line) <= room));
  if (breaks.length) return breaks.reduce((best, lines) => Math.max(...lines.map(width)) < Math.max(...best.map(width)) ? lines : best);
  let length = Math.min(text.length, 200);
  while (length > 1 && width(shorten(text, length)) > room) length -= 1;
  return [shorten(text, length)];
}

function translucent(hexOrRgb, alpha) {
  probe.style.color = hexOrRgb;
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${red},${green},${blue},${alpha})`;
}

const axis = (title, more = {}) => ({
  title: { text: title, standoff: 8, font: { size: 12.5 } }, gridcolor: colour("line"), linecolor: colour("line"), zeroline: false,
  automargin: true, fixedrange: matchMedia("(pointer: coarse)").matches, ...more,
});

// First digits that have a tick on a logarithmic axis, from many to few.
const every = (step) => Array.from({ length: Math.round(9 / step) }, (_, place) => 1 + place * step);
const DIGITS = [every(0.1), every(0.2), every(0.5), [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]];
const MOST_TICKS = 8;

// Plotly writes 0.5 on a logarithmic axis as 5, and lets ticks that are given lie over each other.
function logarithmic(traces) {
  const values = traces.flatMap(({ y }) => y).filter((value) => value > 0);
  const least = values.reduce((low, value) => Math.min(low, value), Infinity);
  const most = values.reduce((high, value) => Math.max(high, value), 0);
  const powers = Array.from({ length: 40 }, (_, place) => place - 25);
  const ticks = DIGITS.map((digits) => powers.flatMap((power) =>
    digits.map((digit) => Number((digit * 10 ** power).toPrecision(2)))).filter((tick) => least <= tick && tick <= most));
  if (ticks[0].length < 2) {  // all values are nearly the same
    const ends = [...new Set([least, most])].filter(Number.isFinite);
    return { type: "log", tickmode: "array", tickvals: ends, ticktext: ends.map((end) => String(Number(end.toPrecision(4)))) };
  }
  const tickvals = ticks.find((some) => some.length > 1 && some.length <= MOST_TICKS)
    ?? ticks.at(-1).filter((_, place) => place % 3 === 0);
  return { type: "log", tickmode: "array", tickvals, ticktext: tickvals.map(String) };
}

// What is pointed at is told beside the chart, by `tell`, since a box would lie over it.
function draw(id, traces, layout, tell) {
  const target = typeof id === "string" ? document.getElementById(id) : id;
  const isNew = !charts.has(target);
  charts.set(target, tell);
  const { height } = layout;
  target.style.height = `${height}px`;
  Plotly.react(target, traces, {
    width: target.clientWidth || undefined,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("text") },
    margin: { l: 8, r: 12, t: 8, b: 8 }, showlegend: false, uirevision: id,
    ...layout,
  }, { displayModeBar: false, scrollZoom: false, plotlyServerURL: "" });  // a button of Plotly's bar sends charts away
  if (!isNew) return;
  target.on("plotly_hover", ({ points }) => charts.get(target)?.(points));
  target.on("plotly_unhover", () => charts.get(target)?.([]));
}
