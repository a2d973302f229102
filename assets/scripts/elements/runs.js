element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-run]');
  if (button) trigger('click', { run: button.dataset.run });
});
