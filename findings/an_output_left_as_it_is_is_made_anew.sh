#!/usr/bin/env bash
# gradio 6.31.0
#
# What happens:   an output that a handler leaves as it is (`gr.skip()`, or simply not among the components that it returns by
#                 name) is no free one: its component is constructed again, and the session's configuration of it twice. A handler
#                 that names a dozen outputs and changes one does the work of a dozen.
# A likely guess: what is skipped is skipped; nothing happens on the server for it.
# Seen:           a handler of 12 outputs that changes one: constructed 11, one that changes all: constructed 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet gradio==6.31.0
GRADIO_ANALYTICS_ENABLED=False env/bin/python - <<'PY'
import asyncio

import gradio as gr
from gradio.state_holder import SessionState

with gr.Blocks() as page:
    outputs = [gr.Markdown() for _ in range(12)]
    one = gr.Button().click(lambda: {outputs[0]: "new"}, None, outputs)
    every = gr.Button().click(lambda: ["new"] * 12, None, outputs)

made = []
construct = gr.Markdown.__init__
gr.Markdown.__init__ = lambda self, *args, **options: (made.append(self), construct(self, *args, **options))[1]


def constructed(event):
    made.clear()
    asyncio.run(page.process_api(page.fns[event["id"]], [], state=SessionState(page)))
    return len(made)


seen = constructed(one), constructed(every)
print("changes one: constructed", seen[0], "changes all: constructed", seen[1])
assert seen == (11, 0)
PY
