let at = -1;
const buttons = () => [...element.querySelectorAll('[data-apply]')];
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-apply]');
  if (button) lsPress(trigger, JSON.parse(button.dataset.apply));
});
document.addEventListener('focusin', (event) => { at = buttons().indexOf(event.target); });
watch('value', () => {
  const now = buttons();
  if (at >= 0 && now.length && document.activeElement === document.body) now[Math.min(at, now.length - 1)].focus({ preventScroll: true });
});
