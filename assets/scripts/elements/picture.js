let inside = false, unfolded = [];
const radios = () => [...element.querySelectorAll('[role=radio]:not([aria-disabled])')];
const choose = (radio) => {
  radios().forEach((other) => { other.setAttribute('aria-checked', other === radio); other.tabIndex = other === radio ? 0 : -1; });
  radio.focus();
  lsPress(trigger, JSON.parse(radio.dataset.apply), 'method');
};
element.addEventListener('click', (event) => {
  const radio = event.target.closest('[role=radio]:not([aria-disabled])');
  if (radio) return choose(radio);
  const button = event.target.closest('button[data-apply]');
  if (button) lsPress(trigger, JSON.parse(button.dataset.apply));
});
element.addEventListener('keydown', (event) => {
  const all = radios(), now = all.indexOf(event.target);
  if (now < 0) return;
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const to = { Home: all[0], End: all[all.length - 1], ' ': event.target, Enter: event.target }[event.key];
  const next = step ? all[(now + step + all.length) % all.length] : to;
  if (!next) return;
  event.preventDefault();
  choose(next);
});
document.addEventListener('focusin', (event) => { inside = element.contains(event.target) && event.target.matches('[role=radio]'); });
document.addEventListener('pointerdown', (event) => { inside = inside && element.contains(event.target); });
element.addEventListener('toggle', () => { unfolded = [...element.querySelectorAll('details')].map((fold) => fold.open); }, true);
watch('value', () => {
  element.querySelectorAll('details').forEach((fold, n) => { fold.open = Boolean(unfolded[n]); });
  if (element.querySelector('[data-law]')) trigger('submit');
  const article = element.querySelector('[data-question]');
  if (article) lsQuestion(article.dataset.question);
  if (inside && document.activeElement === document.body) element.querySelector('[aria-checked=true]')?.focus();
});
