(lang) => {
  for (const [name, value] of [["language", lang], ["languages", [lang]]])
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
  document.documentElement.lang = lang;
}
