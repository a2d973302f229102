element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-apply]');
  if (button) lsPress(trigger, JSON.parse(button.dataset.apply));
  if (button || event.target.closest('.ls-close')) element.innerHTML = '';
});
