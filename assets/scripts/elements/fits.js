let along = false;
element.addEventListener('change', (event) => { if (event.target.matches('[data-along]')) along = event.target.checked; });
element.addEventListener('click', (event) => {
  const button = along && event.target.closest('[data-alpha] [data-apply]');
  if (!button) return;
  event.stopImmediatePropagation();
  const alpha = Number(button.closest('[data-alpha]').dataset.alpha);
  lsPress(trigger, { ...JSON.parse(button.dataset.apply), lora_alpha: alpha });
});
watch('value', () => { element.querySelectorAll('[data-along]').forEach((box) => { box.checked = along; }); });
