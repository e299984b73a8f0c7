// Tables are DataTables'.
const { default: DataTable } = await fromPage("tables-library", (address) => import(address));
DataTable.ext.errMode = "throw";

const FEW = 10;  // rows that need neither a filter nor pages

function makeTable(selector, noun, { filtered: wanted, ...options } = {}) {
  const rows = options.data ? options.data.length : $$(`${selector} tbody tr`).length;
  const { pageLength = 25 } = options;
  const filtered = wanted ?? rows > FEW;
  const paged = rows > pageLength;
  return new DataTable(selector, {
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
}
