// The contents list marks what is on the screen; one of the tables is unfolded at a time.
const contents = $(".contents");
const listed = new Map($$("a", contents).map((link) => [$(link.hash), link]));

const onScreen = new IntersectionObserver((entries) => {
  const link = listed.get(entries.find((entry) => entry.isIntersecting)?.target);
  if (!link) return;
  $("[aria-current]", contents)?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  contents.scrollLeft = link.offsetLeft - contents.clientWidth / 3;
}, { rootMargin: "-20% 0px -79% 0px" });
for (const target of listed.keys()) onScreen.observe(target);

const chosen = $("#choose-table");

function unfold() {
  for (const detail of $$(".detail")) detail.classList.toggle("chosen", detail.dataset.table === chosen.value);
  const table = $(".detail.chosen table.details:not(.dataTable)");
  const rows = data.tables[chosen.value];
  if (table) makeTable(`#${table.id}`, "rows", rows ? { data: rows, columns: longColumns(`#${table.id}`, 0) } : { filtered: false });
}
chosen?.addEventListener("change", unfold);
