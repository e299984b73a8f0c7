// Starts the page of an ablation: tables first, then the charts of the cells that the table shows.
// A row's place among the cells is its index in the table.
const [named, ...numbers] = data.tables.cells ? longColumns("#cells", 1) : [];
const cells = makeTable("#cells", "cells", named && {
  data: data.tables.cells,
  columns: [{
    ...named, cellType: "th", createdCell: (cell) => { cell.scope = "row"; },
    render: (name, kind, [label], { row: place }) => kind === "filter" ? name : kind !== "display" ? place : el("span", {},
      el("i", { class: "swatch", "data-cell": place }),
      el("a", { href: `#cell=${place}`, "aria-label": `${label}: runs and all numbers` }, name)),
  }, ...numbers],
  createdRow: (row, _, place) => { row.dataset.cell = place; },
});

const number = (value, write) => ({ display: value === null || value === undefined ? "n/a" : write(value),
                                    order: value ?? -1e300 });
const numeric = (title, value, write, minor = "minor") => ({
  title, className: `number ${minor}`, type: "num", data: null,
  render: (_, kind, run) => {
    const { display, order } = number(value(run), write);
    if (kind === "sort" || kind === "type") return order;
    return kind === "display" ? document.createTextNode(display) : display;
  } });

makeTable("#runs", "runs", {
  data: data.runs,
  pageLength: FEW,
  deferRender: true,
  columns: [
    { title: "run", data: null, render: (_, kind, run) => kind === "display"
      ? el("a", { href: `#run=${data.runs.indexOf(run)}` }, ...shorten(run.id, 120).split(/(?<=,)/)
          .map((part) => el("span", { class: "word" }, part))) : kind === "filter" ? `${run.id} ${data.cells[run.cell].label}` : run.id },
    numeric("seed", (run) => run.seed, String),
    { title: "status", data: null, render: (_, kind, run) => kind === "display"
      ? el("span", { class: `status ${run.status}` }, run.status) : run.status },
    numeric("test acc. %", (run) => run.best?.test_accuracy, percent, ""),
    numeric("val. acc. %", (run) => run.best?.validation_accuracy, percent),
    numeric("best epoch", (run) => run.best?.epoch, String),
    numeric("epochs", (run) => run.epochs, String),
    numeric("train s", (run) => run.train_s, (value) => value.toFixed(value < 10 ? 2 : 0)),
  ],
});

if (chosen) unfold();

$$(".filters select").forEach((select) => select.addEventListener("change", () => {
  const level = select.value === "" ? null : select.selectedOptions[0].textContent;
  cells.search.fixed(select.id, level === null ? null : (_, __, index) =>
    data.cells[index].levels[Number(select.dataset.factor)] === level).draw();
}));
$("#all-columns").addEventListener("click", ({ currentTarget: button }) => {
  const all = $("#cells").classList.toggle("all");
  button.setAttribute("aria-pressed", all);
});

const drawings = [drawEffects];

function paint() {
  const places = cells.rows({ search: "applied", order: "applied" }).indexes().toArray();
  for (const swatch of $$(".swatch")) swatch.style.background = style(Number(swatch.dataset.cell)).colour;
  for (const drawing of drawings) drawing(places);
}

$("#cells tbody").addEventListener("click", (event) => {
  if (!event.target.closest("a") && !getSelection().toString()) {
    const row = event.target.closest("tr[data-cell]");
    if (row) location.hash = `cell=${row.dataset.cell}`;
  }
});
function paintAll() {
  paint();
  for (const drawing of drawPanel) drawing();
}
addEventListener("themechange", paintAll);
document.documentElement.dataset.ready = "tables";

await new Promise((resolve) => setTimeout(resolve));  // lets the tables be seen
await fromPage("charts-library", runScript);
cells.on("draw", paint);
$("#curves-keys").addEventListener("click", ({ target }) => {
  const place = Number(target.closest(".key")?.dataset.cell ?? -1);
  if (place < 0) return;
  if (!switchedOff.delete(place)) switchedOff.add(place);
  paint();
});
$$("input[name=metric]").forEach((choice) => choice.addEventListener("change", paint));
paint();
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(paintAll, 150);
});
addEventListener("hashchange", route);
route();
document.documentElement.dataset.ready = "yes";

setTimeout(() => {  // further down the page, so after what is seen first
  drawings.push(drawCurves);
  paint();
});
