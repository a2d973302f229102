# make run       install and serve the studio on http://127.0.0.1:7860
# make check     lint, the form of the code (ruff) and its types (mypy)
# make test      install whatever the tests need and run all of them, two files at a time (JOBS=2)
# make test-fast the tests that start no process, no browser and trace nothing: half a minute
# make coverage  count and trace every language model class of the installed Transformers (about ten minutes)
# make accuracy  print published measurements beside the estimate, and the errors (about ten minutes)
# make gpu-proof measure many recipes on this machine's GPU, into presets/measurements (eight minutes on an H200)
# make bench     print the speed and memory figures; AGAINST=a commit or a checkout's folder measures it in turn, with ratios
# make peers     ask other estimators for the published runs too and print the errors (their environment: .venv-peers)
# make pictures  retake the pictures of the README
PYTHON ?= python3
VENV := .venv
JOBS ?= 2
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: run check test test-fast coverage accuracy gpu-proof bench peers pictures chromium clean
.DEFAULT_GOAL := run

$(VENV)/.train: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LoRA Studio needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/.test: $(VENV)/.train
	$(PY) -m pip install --quiet -c constraints.txt -e ".[train,test]"
	touch $@

run: $(VENV)/.train
	$(PY) -m studio

chromium: $(VENV)/.test
	$(PY) -m tests.chromium

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# A file is one worker's, for its servers; the dear files come first (tests/spent.py).
test: chromium
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 25

test-fast: $(VENV)/.test
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 10 -m fast

coverage: $(VENV)/.test
	$(PY) -m tests.estimator.coverage

accuracy: $(VENV)/.test
	$(PY) -m tests.estimator.accuracy

gpu-proof: $(VENV)/.train
	$(PY) -m estimator.measure.sweep

bench: chromium
	$(PY) -m tests.bench $(if $(AGAINST),--against $(AGAINST))

peers: $(VENV)/.train
	$(PY) -m tests.estimator.peers

pictures: chromium
	$(PY) -m tests.pictures

clean:
	rm -rf $(VENV) .venv-peers
