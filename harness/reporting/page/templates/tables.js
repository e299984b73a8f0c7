// Tables are DataTables'.
const { default: DataTable } = await fromPage("tables-library", (address) => import(address));
DataTable.ext.errMode = "throw";

const FEW = 10;  // rows that need neither a filter nor pages
const MOST_PRINTED = 250;

function makeTable(selector, noun, { filtered: wanted, ...options } = {}) {
  const rows = options.data ? options.data.length : $$(`${selector} tbody tr`).length;
  const { pageLength = 25 } = options;
  const filtered = wanted ?? rows > FEW;
  const paged = rows > pageLength;
  const made = new DataTable(selector, {
    autoWidth: false,
    order: [],
    pageLength,
    paging: paged,
    layout: {
      topStart: filtered ? "search" : null, topEnd: filtered ? "info" : null, bottomStart: paged ? "pageLength" : null,
      bottomEnd: paged ? "paging" : null,
    },
    language: {
      search: "", searchPlaceholder: `Filter ${noun}`, info: `_TOTAL_ ${noun}`, infoEmpty: `no ${noun}`,
      infoFiltered: "of _MAX_", zeroRecords: `No ${noun} match.`, emptyTable: `There are no ${noun}.`,
      lengthMenu: "_MENU_ per page",
    },
    initComplete() {
      $(".dt-search input", this.api().table().container())?.setAttribute("aria-label", `Filter ${noun}`);
    },
    ...options,
  });
  if (paged && rows <= MOST_PRINTED) {  // paper has no next page to turn to
    let before = pageLength;
    addEventListener("beforeprint", () => { before = made.page.len(); made.page.len(-1).draw(); });
    addEventListener("afterprint", () => made.page.len(before).draw());
  }
  return made;
}

// As the template writes them: an interval is not broken inside.
function written([text, , bold], isText) {
  const at = isText ? -1 : text.indexOf(" [");
  const parts = at < 0 ? [text] : [text.slice(0, at + 1), el("span", { class: "interval" }, text.slice(at + 1))];
  const place = bold ? el("strong") : document.createDocumentFragment();
  place.append(...parts);
  return place;
}

// Rows of a long table, which the page has as data; its headings say what the columns are.
const longColumns = (selector, skipped) => $$(`${selector} thead th`).map((heading, place) => {
  const isText = !heading.classList.contains("number");
  return {
    className: heading.className, data: place + skipped,
    render: (cell, kind) => kind === "display" ? written(cell, isText) : kind === "filter" ? cell[0] : cell[1],
    createdCell: (cell, _, row) => { if (isText) cell.classList.add(row[place + skipped][0].length > 40 ? "long" : "words"); },
  };
});
