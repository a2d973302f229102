// Enter in a list that also takes a text of one's own: Gradio (6.31) takes the first entry that holds what was typed, so that "3060" would be
// the 8 GB card. What was typed counts, unless one entry alone holds it or the arrows have gone to one; the server then knows the name or lists.
const LS_FREE = "#estimate-gpu input, #estimate-model input, #train-model input, #dataset-model input";
const lsTyped = new WeakSet();
document.addEventListener("input", (event) => { if (event.target.matches?.(LS_FREE)) lsTyped.add(event.target); }, true);
document.addEventListener("keydown", (event) => {
  const box = event.target;
  if (!box.matches?.(LS_FREE)) return;
  if (["ArrowDown", "ArrowUp", "Home", "End", "Escape"].includes(event.key)) lsTyped.delete(box);
  else if (event.key === "Enter" && lsTyped.delete(box)) {
    const listed = document.getElementById(box.getAttribute("aria-controls"));
    if (listed?.querySelectorAll("[role=option]").length === 1) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    box.blur();
  }
}, true);
