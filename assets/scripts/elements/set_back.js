element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-set-back]');
  if (button) trigger('click', { field: button.dataset.setBack });
});
