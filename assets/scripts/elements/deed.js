// Buttons and fields of a form that stand in one element: what is done, and all fields in their order.
const changed = (field) => [...(field.options || [])].findIndex((one) => one.defaultSelected) !== field.selectedIndex;
const fields = (form) => [...form.elements]
  .filter((one) => one.name && (!('ifChanged' in one.dataset) || changed(one)))
  .map((one) => [one.name, one.type === 'checkbox' ? one.checked : one.value]);
const tell = (from) => {
  const form = from.closest('form');
  trigger('click', { ...JSON.parse(from.dataset.with || '{}'), do: from.dataset.do, fields: form ? fields(form) : [] });
};
const local = {
  add: (button) => {
    const list = button.closest('[data-turns]');
    list.querySelector('[data-list]').append(list.querySelector('template').content.cloneNode(true));
    list.querySelector('[data-list]').lastElementChild.querySelector('textarea').focus();
  },
  drop: (button) => {
    const list = button.closest('[data-turns]');
    button.closest('[data-turn]').remove();
    list.querySelector('[data-local=add]').focus();
  },
};
const told = (form) => {
  const out = form && form.querySelector('output[data-says]');
  if (!out) return;
  const number = (name) => Number(form.elements[name]?.value || 0);
  let counts = { train: 0, eval: 0, test: 0 };
  if ('rows' in out.dataset) {
    const rows = Number(out.dataset.rows);
    const held = (of, share) => share > 0 && of > 1 ? Math.min(Math.max(1, Math.round(of * share)), of - 1) : 0;
    counts.eval = held(rows, number('eval_share') / 100);
    counts.test = held(rows - counts.eval, number('test_share') / 100);
    counts.train = rows - counts.eval - counts.test;
  } else form.querySelectorAll('[data-train]').forEach((part) => {
    const weight = Number(part.value || 0);
    if (!(weight > 0)) return;
    counts.train += Number(part.dataset.train) * weight;
    counts.eval += Number(part.dataset.eval);
    counts.test += Number(part.dataset.test);
  });
  out.textContent = out.dataset.says.replace(/\{(\w+)\}/g, (_, name) => Math.round(counts[name]).toLocaleString('en'));
};
const folds = new Set();
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do], button[data-local]');
  if (!button) return;
  event.preventDefault();
  if (button.dataset.local) local[button.dataset.local](button);
  else tell(button);
});
element.addEventListener('change', (event) => {
  const field = event.target;
  const cell = field.matches('[data-part]') && field.closest('tr').querySelector('[data-shown]');
  if (cell) cell.textContent = JSON.parse(field.form.dataset.examples)[field.value] || '';
  if (field.dataset.do) tell(field);
});
element.addEventListener('input', (event) => told(event.target.form));
element.addEventListener('submit', (event) => {
  event.preventDefault();
  const button = event.target.querySelector('[data-default]');
  if (button) tell(button);
});
element.addEventListener('toggle', (event) => {
  const fold = event.target;
  if (fold.dataset.fold) folds[fold.open ? 'add' : 'delete'](fold.dataset.fold);
}, true);
watch('value', () => {
  element.querySelectorAll('[data-fold]').forEach((fold) => { fold.open = folds.has(fold.dataset.fold) || 'unfolded' in fold.dataset; });
  element.querySelectorAll('form').forEach(told);
  const first = element.querySelector('[data-first]');
  if (first) {
    first.focus({ preventScroll: true });
    element.scrollIntoView({ block: 'nearest' });
  }
});
