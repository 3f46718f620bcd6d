// What the theme and the widgets leave out for screen readers.
// Names that differ from the visible text go, so that the text itself is the name; sliders are named by their labels.
for (const named of document.querySelectorAll("summary[aria-label], .search-button-field[aria-label]")) {
  named.removeAttribute("aria-label");
}
for (const listed of document.querySelectorAll(".citation-list, .citation[role]")) listed.removeAttribute("role");
const nameSliders = () => {
  for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label");
    handle.setAttribute("aria-label", label?.textContent || "value");
  }
};
nameSliders();
// Tables that scroll sideways can be reached, and so scrolled, by keyboard.
const reachTables = () => {
  for (const table of document.querySelectorAll("article table")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
};
addEventListener("load", reachTables);
addEventListener("resize", reachTables);
new MutationObserver(nameSliders).observe(document.body, { childList: true, subtree: true }); // widgets are drawn later
