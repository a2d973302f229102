() => {
  const refuse = (event, files) => {
    const file = [...(files || [])].find((one) => one.size > LIMIT);
    if (!file || !event.target.closest("#dataset-file")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const box = document.querySelector("#dataset-oversize textarea, #dataset-oversize input");
    box.value = JSON.stringify([file.name, file.size, Date.now()]);
    box.dispatchEvent(new Event("input", { bubbles: true }));
    if (event.target.value) event.target.value = "";
  };
  document.addEventListener("change", (event) => refuse(event, event.target.files), true);
  document.addEventListener("drop", (event) => refuse(event, event.dataTransfer?.files), true);
}
