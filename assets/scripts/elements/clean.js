// The steps that are on, with what they do and their options, as the form stands.
const number = (input) => (input.type === 'number' ? Number(input.value) : input.value);
const choice = (step) => ({
  step: step.dataset.step,
  action: step.querySelector('[data-action]').value,
  options: Object.fromEntries([...step.querySelectorAll('[data-option]')].map((input) => [input.dataset.option, number(input)])),
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-clean]');
  if (!button) return;
  const on = [...element.querySelectorAll('[data-step]')].filter((step) => step.querySelector('[data-on]').checked);
  trigger('click', { do: button.dataset.clean, choices: on.map(choice) });
});
