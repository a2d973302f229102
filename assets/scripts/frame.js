const lsWords = () => LS_WORDS[document.documentElement.lang] || LS_WORDS.en;
// Calls `made` with each element of `selector`, now or when the page makes it: Gradio mounts what a tab or a fold holds when it opens.
const lsAwaited = [];
function lsWhenThere(selector, made) { lsAwaited.push([selector, made]); }
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) {
    for (const [selector, made] of lsAwaited) {
      if (node.matches(selector)) made(node);
      node.querySelectorAll(selector).forEach(made);
    }
  }
}).observe(document, { childList: true, subtree: true });
const lsTheme = localStorage.getItem("ls-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const lsAddress = new URL(location.href);
if (lsAddress.searchParams.get("__theme") !== lsTheme && !lsAddress.searchParams.has("__theme")) {
  lsAddress.searchParams.set("__theme", lsTheme);
  history.replaceState(history.state, "", lsAddress);
}
function lsToggleTheme() {
  const dark = document.body.classList.toggle("dark");
  localStorage.setItem("ls-theme", dark ? "dark" : "light");
  lsInAddress("__theme", dark ? "dark" : "light");
}
function lsInAddress(name, value) {
  const address = new URL(location.href);
  value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
}
// Gradio opens its first tab before the address is read: that one must not overwrite what the address asks for.
const lsStartTab = lsAddress.searchParams.get("tab");
let lsAsked = lsStartTab;
function lsOpened(name) {
  const isFirst = lsAsked && name !== lsAsked;
  lsAsked = null;
  if (!isFirst) lsInAddress("tab", name);
}
// The estimate's question, so that a reload or the other language keeps it. Browsers refuse an address that changes at every move.
const LS_OWN = ["tab", "run", "lang", "__theme"];
// What is asked of time and money (LS_COSTING) comes from its own panel, and stays while that one is closed.
let lsQuestionSoon, lsCosting = new URLSearchParams([...lsAddress.searchParams].filter(([name]) => LS_COSTING.includes(name))).toString(), lsRecipe = "";
function lsQuestion(text, costing) {
  lsRecipe = text ?? lsRecipe;
  lsCosting = costing ?? lsCosting;
  clearTimeout(lsQuestionSoon);
  lsQuestionSoon = setTimeout(() => {
    const address = new URL(location.href);
    const own = [...address.searchParams].filter(([name]) => LS_OWN.includes(name));
    address.search = new URLSearchParams([...own, ...new URLSearchParams(lsRecipe), ...new URLSearchParams(lsCosting)]);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }, 300);
}
// Gradio's slider forces what was typed beside it into its own range when the box is left (6.31): another number, unsaid.
document.addEventListener("blur", (event) => {
  if (event.target.matches?.("input[data-testid=number-input]")) event.stopImmediatePropagation();
}, true);
// Typing into a list replaces what stands there; Gradio would add to it, and then nothing matches.
document.addEventListener("focusin", ({ target }) => {
  if (!target.matches("input[role=combobox]")) return;
  target.select();
  addEventListener("pointerup", () => document.activeElement === target && target.select(), { once: true });
});
// A problem stands at the field it names too, with what it offers to choose from. Where the field is in sight, that is where it is read:
// the one above the picture is left to screen readers. Gradio's own `validator=` knows sliders and dropdowns only (6.31), and tells of a
// change before it is in the page: so the page itself is watched, with the list of fields that are drawn anew with it.
const lsProblems = new MutationObserver(() => {
  for (const tab of ["estimate", "train"]) lsMarkField(tab);
  lsProblems.takeRecords();  // the marks themselves
});
lsWhenThere("#estimate-problem, #train-problem, #train-also", (shown) => lsProblems.observe(shown, { childList: true, subtree: true }));
function lsMarkField(tab) {
  document.querySelectorAll(`.ls-at-fault[id^="${tab}-"]`).forEach((field) => {
    field.classList.remove("ls-at-fault");
    delete field.dataset.problem;
    field.querySelectorAll(":scope > .ls-fault").forEach((said) => said.remove());
  });
  const whole = document.getElementById(`${tab}-problem`);
  const problem = whole?.querySelector("[data-field]");
  const field = problem && document.getElementById(`${tab}-${problem.dataset.field}`);
  whole?.classList.toggle("ls-said-at-field", Boolean(field) && lsInSight(field));
  if (!field) return;
  field.dataset.problem = problem.textContent;
  field.classList.add("ls-at-fault");
  const said = document.createElement("div");
  said.className = "ls-fault";
  said.setAttribute("aria-hidden", "true");
  said.textContent = problem.textContent;
  field.append(said);
  const offered = whole.querySelector(".ls-choices");
  if (!offered) return;
  const copy = offered.cloneNode(true);
  copy.classList.add("ls-fault");
  copy.addEventListener("click", (event) => {
    const at = [...copy.children].indexOf(event.target.closest("[data-choose]"));
    offered.children[at]?.click();
  });
  field.append(copy);
}
function lsInSight(element) {
  const { top, bottom, height } = element.getBoundingClientRect();
  return height > 0 && top >= 0 && bottom <= innerHeight;
}
lsWhenThere("[data-set-lang]", (link) => link.lang === document.documentElement.lang && link.setAttribute("aria-current", "true"));
// A dropdown's open list scrolls, so Tab would stop there (Chromium), and the list is gone by then: that stop is taken out.
document.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && event.target.role === "combobox") document.getElementById(event.target.getAttribute("aria-controls"))?.setAttribute("tabindex", "-1");
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-set-lang]");
  if (link) {
    event.preventDefault();
    const address = new URL(location.href);
    address.searchParams.set("lang", link.dataset.setLang);
    location.assign(address);
  }
  if (event.target.closest("[data-toggle-theme]")) lsToggleTheme();
});
