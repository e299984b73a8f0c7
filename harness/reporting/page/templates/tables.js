// Tables are DataTables'.
const { default: DataTable } = await fromPage("tables-library", (address) => import(address));
DataTable.ext.errMode = "throw";

const PER_PAGE = 25;

function makeTable(selector, noun, options = {}) {
  const rows = options.data ? options.data.length : $$(`${selector} tbody tr`).length;
  return new DataTable(selector, {
    autoWidth: false,
    order: [],
    pageLength: PER_PAGE,
    paging: rows > PER_PAGE,
    layout: {
      topStart: "search", topEnd: "info", bottomStart: rows > PER_PAGE ? "pageLength" : null,
      bottomEnd: rows > PER_PAGE ? "paging" : null,
    },
    language: {
      search: "", searchPlaceholder: `Filter ${noun}`, info: `_TOTAL_ ${noun}`, infoEmpty: `no ${noun}`,
      infoFiltered: "of _MAX_", zeroRecords: `No ${noun} match.`, emptyTable: `There are no ${noun}.`,
      lengthMenu: "_MENU_ per page",
    },
    initComplete() {
      $(".dt-search input", this.api().table().container()).setAttribute("aria-label", `Filter ${noun}`);
    },
    ...options,
  });
}
