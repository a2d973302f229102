element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-choose]');
  if (button) trigger('click', JSON.parse(button.dataset.choose));
});
