// The panel of one cell or one run, filled when it is opened: #cell=3 and #run=17 are addresses.
const panel = $("#detail");
const body = $("#detail-body");
let opener = null;

function facts(rows) {
  return el("table", { class: "facts-table" }, el("tbody", {}, ...rows.map(([name, value, differs]) =>
    el("tr", differs ? { class: "differs" } : {}, el("th", { scope: "row" }, name),
       el("td", {}, value instanceof Node ? value : plain(value), differs ? el("small", {}, ` baseline: ${differs}`) : null)))));
}

const section = (title, ...content) => el("section", {}, el("h3", {}, title), ...content);
const part = (run, name) => name in run.shared ? data.shared[run.shared[name]] : null;
const runLink = (place, text = data.runs[place].id) => el("a", { href: `#run=${place}` }, text);

function grid(headers, rows) {
  return el("div", { class: "scroll" }, el("table", { class: "plain" },
    el("thead", {}, el("tr", {}, ...headers.map((header) => el("th", { scope: "col" }, header)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell)))))));
}

function copyable(text) {
  const button = el("button", { type: "button" }, "Copy");
  // Broken between arguments and not inside them.
  const code = el("code", { tabindex: "0" }, ...text.split(" ").flatMap((word, place) =>
    [place ? " " : "", el("span", { class: "word" }, word)]));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  return el("div", { class: "command" }, code, button);
}

function fillCell(place) {
  const cell = data.cells[place];
  const runs = data.runs.map((run, index) => [run, index]).filter(([run]) => run.cell === place);
  $("#detail-title").textContent = cell.label;
  body.replaceChildren(
    section("Runs", runs.length === 0 ? el("p", {}, "There is no record of this cell yet.") : grid(
      ["seed", "status", "test accuracy %", "validation accuracy %", "epoch", "run"],
      runs.map(([run, index]) => [run.seed, run.status, percent(run.best?.test_accuracy),
        percent(run.best?.validation_accuracy), plain(run.best?.epoch), runLink(index)]))),
    section("Everything known of the cell", facts(cell.facts)));
  return [];
}

function layers(run) {
  const { headers, rows } = part(run, "layers") ?? {};
  return rows ? [section("Layers", grid(headers, rows))] : [];
}

function configuration(run) {
  const baseline = data.runs.find((other) => other.cell === data.cells[run.cell].base);
  const reference = new Map(baseline ? part(baseline, "config") : []);
  return facts(part(run, "config").map(([name, value]) => {
    const there = reference.get(name) ?? "not set";
    return [name, value, baseline && there !== value ? there : null];
  }));
}

function scores(run) {
  const names = ["test_accuracy", "validation_accuracy", "train_accuracy", "test_loss", "validation_loss", "train_loss"];
  const write = (state, name) => name.endsWith("accuracy") ? `${percent(state[name])} %` : state[name].toFixed(4);
  return section("Scores", grid(["state", "epoch", ...names.map((name) => name.replace("_", " "))],
    [["best validation epoch", run.best], ["last epoch", run.last]].filter(([, state]) => state)
      .map(([title, state]) => [title, state.epoch, ...names.map((name) => write(state, name))])));
}

function fillRun(place) {
  const run = data.runs[place];
  $("#detail-title").textContent = run.id;
  const step = (to, text) => to in data.runs ? el("a", { href: `#run=${to}` }, text) : null;
  const pictures = run.curve?.[0]?.length ? ["accuracy", "loss"].map((quantity) => [quantity, el("div", {
    class: "chart", role: "img", "aria-label": `${quantity} over epochs` })]) : [];
  body.replaceChildren(
    el("p", { class: "links" }, el("span", { class: `status ${run.status}` }, run.status),
       el("a", { href: `#cell=${run.cell}` }, `cell ${data.cells[run.cell].label}`), `seed ${run.seed}`,
       el("a", { href: `${run.folder}record.json` }, "record.json"), el("a", { href: `${run.folder}curve.csv` }, "curve.csv"),
       step(place - 1, "previous run"), step(place + 1, "next run")),
    ...(run.message ? [el("p", { class: "notice" }, run.message)] : []),
    section("Train it again", ...run.commands.map(copyable), ...run.advice.map((words) => el("p", { class: "hint" }, words))),
    ...(run.best ? [scores(run)] : []),
    section("Learning curve", pictures.length ? el("div", { class: "charts" }, ...pictures.map(([, target]) =>
      el("div", {}, target, el("p", { class: "readout" }))))
      : el("p", {}, run.curve && run.epochs ? "Its few epochs are in curve.csv." : "There is no curve of this run.")),
    el("div", { class: "columns" },
      section("Configuration", configuration(run)),
      el("div", {}, section("Environment", facts(part(run, "environment"))),
         section("Data", facts(part(run, "dataset"))))),
    el("div", { class: "columns" },
      section("Cost", facts(part(run, "cost") ?? [])),
      section("Course", facts([...run.more, ...(part(run, "placement") ?? [])]))),
    ...layers(run));
  return pictures.map(([quantity, target]) => () => drawRun(target, run, quantity));
}

let drawPanel = [];

function route() {
  const [, what, place] = location.hash.match(/^#(cell|run)=(\d+)$/) ?? [];
  for (const target of charts.keys()) if (body.contains(target)) { Plotly.purge(target); charts.delete(target); }
  drawPanel = [];
  if (what === undefined || !(Number(place) in (what === "cell" ? data.cells : data.runs))) {
    if (panel.open) panel.close();
    return;
  }
  const drawings = (what === "cell" ? fillCell : fillRun)(Number(place));
  if (!panel.open) {
    opener = document.activeElement;
    panel.showModal();
  }
  panel.scrollTop = 0;
  $(".close", panel).focus();
  drawPanel = drawings;
  for (const drawing of drawPanel) drawing();
}

$(".close", panel).addEventListener("click", () => panel.close());
panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
panel.addEventListener("close", () => {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  body.replaceChildren();
  drawPanel = [];
  opener?.focus?.({ preventScroll: true });
});
