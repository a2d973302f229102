(draft) => {
  if (window.lsDraftKept || !draft) return Array(4).fill({__type__: "update"});
  window.lsDraftKept = true;
  return [draft.prompt, draft.temperature, draft.max_new_tokens, draft.seed];
}
