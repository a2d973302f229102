// The keys of WAI-ARIA's tabs, which Gradio's (6.31) lack: arrows, Home and End go to a tab and open it; Tab stops at the open one alone.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.target.role !== "tab") return;
  const tabs = [...event.target.closest("[role=tablist]").querySelectorAll("[role=tab]:not(:disabled)")];
  const at = tabs.indexOf(event.target), last = tabs.length - 1;
  const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at > 0 ? at - 1 : last, Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  tabs[next].focus();
  tabs[next].click();
});
function lsTabStops(list) {
  list.querySelectorAll("[role=tab]").forEach((tab) => { tab.tabIndex = tab.ariaSelected === "true" ? 0 : -1; });
}
lsWhenThere("[role=tablist]", (list) => {
  new MutationObserver(() => lsTabStops(list)).observe(list, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
  lsTabStops(list);
});
