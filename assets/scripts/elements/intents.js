const said = (name) => element.querySelectorAll('[data-why]').forEach((why) => { why.hidden = why.dataset.why !== name; });
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-intent], [data-reset], [data-back]');
  if (!button) return;
  const name = button.dataset.intent;
  element.querySelectorAll('[data-intent]').forEach((other) => other.setAttribute('aria-pressed', other === button));
  said(name || ('reset' in button.dataset ? 'reset' : ''));
  if ('back' in button.dataset) element.querySelector('[data-reset]').focus();
  lsPress(trigger, name ? { intent: name } : 'reset' in button.dataset ? { reset: true } : { back: true });
});
