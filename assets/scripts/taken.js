// What *Take it away* shows belongs to one question. Panels are drawn after the picture, so while the picture is of another question, or a
// mistake or a wait stands beside it, nothing of the last one can be copied or saved.
const LS_PICTURE_MS = 1000;
function lsTaken(element) {
  const picture = document.getElementById("estimate-picture"), trouble = document.getElementById("estimate-problem");
  const question = (place) => place?.querySelector("[data-question]")?.dataset.question;
  let touched = -Infinity; // a control was: the picture of it is on its way
  const isWaited = () => performance.now() - touched < LS_PICTURE_MS || Boolean(trouble?.innerText.trim());
  const isOld = () => question(element) !== undefined && (question(element) !== question(picture) || isWaited());
  const mark = () => {
    const old = isOld();
    element.classList.toggle("ls-outdated", old);
    element.querySelectorAll("button").forEach((button) => { button.disabled = old; });
  };
  const observer = new MutationObserver(mark);
  for (const place of [picture, trouble, element]) if (place) observer.observe(place, { childList: true, subtree: true, attributeFilter: ["data-question"] });
  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, ({ target }) => {
      if (!target.closest?.("#ls-tab-estimate .ls-left")) return;
      touched = performance.now();
      mark();
      setTimeout(mark, LS_PICTURE_MS + 10);
    }, true);
  }
  element.addEventListener("click", (event) => {
    if (!isOld() || !event.target.closest("a, button")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  mark();
}
