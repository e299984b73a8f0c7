// Starts the page of an ablation: tables first, then the charts of the cells that the table shows.
const cells = makeTable("#cells", "cells");

const seconds = (run) => run.more.timing?.train_s ?? null;
const number = (value, write) => ({ display: value === null || value === undefined ? "n/a" : write(value),
                                    order: value ?? -1e300 });
const numeric = (title, value, write) => ({
  title, className: "number", type: "num", data: null,
  render: (_, kind, run) => {
    const { display, order } = number(value(run), write);
    if (kind === "sort" || kind === "type") return order;
    return kind === "display" ? document.createTextNode(display) : display;
  } });
const text = (value) => (_, kind, run) => kind === "display" ? el("span", {}, value(run)) : value(run);

makeTable("#runs", "runs", {
  data: data.runs,
  deferRender: true,
  columns: [
    { title: "run", data: null, render: (_, kind, run) => kind === "display"
      ? el("a", { href: `#run=${data.runs.indexOf(run)}` }, shorten(run.id, 120)) : run.id },
    { title: "cell", data: null, render: text((run) => shorten(data.cells[run.cell].label, 120)) },
    numeric("seed", (run) => run.seed, String),
    { title: "status", data: null, render: (_, kind, run) => kind === "display"
      ? el("span", { class: `status ${run.status}` }, run.status) : run.status },
    numeric("test acc. %", (run) => run.best?.test_accuracy, percent),
    numeric("val. acc. %", (run) => run.best?.validation_accuracy, percent),
    numeric("best epoch", (run) => run.best?.epoch, String),
    numeric("epochs", (run) => run.more.epochs_trained, String),
    numeric("train s", seconds, (value) => value.toFixed(value < 10 ? 2 : 0)),
  ],
});

for (const table of $$("table.details")) makeTable(`#${table.id}`, "rows");

$$(".filters select").forEach((select) => select.addEventListener("change", () => {
  cells.column(Number(select.dataset.column)).search(select.value, { exact: select.value !== "" }).draw();
}));

const drawings = [drawEffects];

function paint() {
  const places = cells.rows({ search: "applied", order: "applied" }).nodes().toArray().map((row) => Number(row.dataset.cell));
  for (const swatch of $$(".swatch")) swatch.style.background = style(Number(swatch.dataset.cell)).colour;
  for (const drawing of drawings) drawing(places);
}

$("#cells tbody").addEventListener("click", (event) => {
  if (!event.target.closest("a") && !getSelection().toString()) {
    const row = event.target.closest("tr[data-cell]");
    if (row) location.hash = `cell=${row.dataset.cell}`;
  }
});
addEventListener("themechange", () => {
  paint();
  for (const drawing of drawPanel) drawing();
});
document.documentElement.dataset.ready = "tables";

await new Promise((resolve) => setTimeout(resolve));  // lets the tables be seen
await fromPage("charts-library", runScript);
cells.on("draw", paint);
$$("input[name=metric]").forEach((choice) => choice.addEventListener("change", paint));
paint();
addEventListener("hashchange", route);
route();
document.documentElement.dataset.ready = "yes";

setTimeout(() => {  // further down the page, so after what is seen first
  drawings.push(drawCurves);
  paint();
});
