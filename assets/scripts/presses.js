// One press of a button that sets fields is answered before the next is sent: it starts from what the one before has made of the fields,
// and the last has the last word. Of several that wait, one replaces an earlier one of its kind.
const lsWaiting = [];
let lsAtWork = false, lsCount = 0;
function lsPress(trigger, data, kind = Object.keys(data).join()) {
  const same = lsWaiting.findIndex((other) => other.kind === kind);
  if (same >= 0) lsWaiting.splice(same, 1);
  lsWaiting.push({ trigger, data, kind });
  lsNextPress();
}
function lsNextPress() {
  if (lsAtWork || !lsWaiting.length) return;
  const { trigger, data } = lsWaiting.shift();
  lsAtWork = true;
  trigger("click", data);
}
function lsPressed() {
  lsAtWork = false;
  lsNextPress();
}
// What a request carries so that the server knows which of several is the newest (studio/tabs/turns.py).
function lsNumber() {
  return String(++lsCount);
}
