"""The Gradio app, its workers and its stores. Only worker processes import torch (`workers`, `training`,
`inference`)."""

import studio.i18n  # noqa: F401  (registers the sentences of the studio's problems)
