// Which panels are open is known here alone. They are asked for with each picture by a request of their own, which the server answers after
// the picture's (studio/tabs/turns.py).
let lsPanelsTrigger = null, lsPicture = 0;
function lsOpenNames() {
  const open = [...document.querySelectorAll("[id^=estimate-panel-]")].filter((fold) => fold.querySelector("button.open"));
  return open.map((fold) => fold.id.replace("estimate-panel-", "")).join(",");
}
function lsOpenPanels() {
  return lsOpenNames() + "|" + lsPicture;
}
// They wait for the first picture, since what an address asks is set with it; for ten seconds, as a page may have a mistake to say instead.
let lsAsking = false;
async function lsAskPanels() {
  if (lsAsking) return;
  lsAsking = true;
  for (let waited = 0; waited < 10_000 && !document.querySelector("#estimate-picture article"); waited += 50) await new Promise((done) => setTimeout(done, 50));
  lsAsking = false;
  if (lsPanelsTrigger && lsOpenNames()) lsPanelsTrigger("submit");
}
function lsPictured() {
  setTimeout(lsAskPanels);
  return (lsPicture = lsNumber());
}
