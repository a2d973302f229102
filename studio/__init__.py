"""The Gradio app, its workers and its stores. Only `studio.workers` imports torch."""

import studio.i18n  # noqa: F401  (registers the sentences of the studio's problems)
