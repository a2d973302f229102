element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-list]');
  if (!button) return;
  const box = document.querySelector(`#estimate-${button.dataset.list} textarea, #estimate-${button.dataset.list} input`);
  const names = box.value.split(/[,;，、；]+(?![^()]*\))/).map((name) => name.trim()).filter(Boolean);
  const others = names.filter((name) => name !== button.dataset.name);
  const now = others.length < names.length ? others : [...names, button.dataset.name];
  box.value = now.slice(button.dataset.list === 'compare' ? -3 : 0).join(', ');
  box.dispatchEvent(new Event('input', { bubbles: true }));
});
watch('value', () => {
  const answer = element.querySelector('[data-costing]');
  if (answer) lsQuestion(undefined, answer.dataset.costing);
});
