// What Gradio (6.31) calls the parts of a slider, in English on every page and its reset button without the field's name, said with the
// field's name in the page's language.
function lsNamed(selector, word, shown) {
  lsWhenThere(selector, (part) => {
    const label = part.closest(".wrap")?.querySelector("[data-testid=block-info]");
    if (!label) return;
    const name = () => {
      const text = lsWords()[word].replace("{field}", label.textContent.trim());
      if (part.ariaLabel !== text) part.ariaLabel = text;
      if (shown) part.title = text;
    };
    new MutationObserver(name).observe(label, { childList: true, characterData: true, subtree: true });
    name();
  });
}
lsNamed(".reset-button", "reset", true);
lsNamed("input[data-testid=number-input]", "number");
lsNamed("input[type=range]", "range");
