(draft, prompt, temperature, max_new_tokens, seed) => {
  if (!window.lsDraftKept && !prompt) return draft;
  window.lsDraftKept = true;
  return {prompt, temperature, max_new_tokens, seed};
}
