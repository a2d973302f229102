let layer = null;
const show = () => {
  const kinds = element.querySelector('[data-layers]');
  if (!kinds) return;
  if ([...kinds.options].some((option) => option.value === layer)) kinds.value = layer;
  element.querySelectorAll('[data-layer]').forEach((one) => { one.hidden = one.dataset.layer !== kinds.value; });
};
element.addEventListener('change', (event) => {
  if (!event.target.matches('[data-layers]')) return;
  layer = event.target.value;
  show();
});
watch('value', show);
