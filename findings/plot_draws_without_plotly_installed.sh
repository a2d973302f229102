#!/usr/bin/env bash
# gradio 6.31.0
#
# What happens:   `gr.Plot` draws a Plotly figure where the plotly package is not installed: as `PlotData` with the figure's JSON it
#                 goes to the browser as it is, and the page brings plotly.js itself. The package (64 MB) is needed by nobody.
# A likely guess: a component that shows Plotly figures needs plotly.
# Seen:           plotly installed: False, sent: {'type': 'plotly', 'plot': '{"data": [{"type": "bar", "y": [1, 2]}]}'}, the page's
#                 own: ['PlotlyPlot-D9Pvz5DK.js'].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet gradio==6.31.0
GRADIO_ANALYTICS_ENABLED=False env/bin/python - <<'PY'
import importlib.util
import json
from pathlib import Path

import gradio as gr
from gradio.components.plot import PlotData

figure = json.dumps({"data": [{"type": "bar", "y": [1, 2]}]})
sent = gr.Plot().postprocess(PlotData(type="plotly", plot=figure)).model_dump()
has_plotly = importlib.util.find_spec("plotly") is not None
own = list((Path(gr.__file__).parent / "templates" / "frontend" / "assets").glob("PlotlyPlot-*.js"))
print("plotly installed:", has_plotly, "sent:", sent, "the page's own:", [file.name for file in own])
assert not has_plotly and own and sent["type"] == "plotly" and sent["plot"] == figure
PY
