// What all charts share. Plotly reads text as markup of its own, so text from records is escaped for it.
const charts = new Map();

const literal = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Okabe and Ito's colours, lighter on dark ground; repeated with other dashes and markers, so that colour is never alone.
const LIGHT = ["#D55E00", "#0072B2", "#007A5A", "#B4568F", "#8A6500", "#2A8FC4", "#5B4FB5"];
const DARK = ["#FF8A3D", "#56A8F0", "#3CCB9F", "#EE9BCB", "#F0C24B", "#8FD3FF", "#B3A6FF"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKERS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down"];

function style(place) {
  if (data.cells[place].baseline) return { colour: colour("text"), dash: "solid", marker: "circle" };
  const colours = isDark() ? DARK : LIGHT;
  return { colour: colours[place % colours.length],
           dash: DASHES[(place + Math.floor(place / colours.length)) % DASHES.length],
           marker: MARKERS[place % MARKERS.length] };
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

// Plotly writes 0.5 on a logarithmic axis as 5.
const STEPS = [-5, -4, -3, -2, -1, 0, 1, 2, 3].flatMap((power) =>
  [1, 1.5, 2, 3, 5, 7].map((digit) => Number((digit * 10 ** power).toPrecision(2))));
const logarithmic = { type: "log", tickmode: "array", tickvals: STEPS, ticktext: STEPS.map(String) };

function draw(id, traces, layout) {
  const target = typeof id === "string" ? document.getElementById(id) : id;
  charts.set(target, true);
  const { height } = layout;
  target.style.height = `${height}px`;
  return Plotly.react(target, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("text") },
    margin: { l: 8, r: 12, t: 8, b: 8 }, showlegend: false, uirevision: id,
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
    ...layout,
  }, { responsive: true, displaylogo: false, displayModeBar: "hover", scrollZoom: false,
       modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] });
}
