async (before) => {
  for (let waited = 0; waited < 10_000 && !document.querySelector("#estimate-picture article"); waited += 50) await new Promise((done) => setTimeout(done, 50));
  const open = [...document.querySelectorAll("[id^=estimate-panel-]")].filter((fold) => fold.querySelector("button.open"));
  const names = open.map((fold) => fold.id.replace("estimate-panel-", "")).join(",");
  return names ? names + "|" + (Number((before || "").split("|")[1] || 0) + 1) : before;
}
