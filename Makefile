# make demo   from nothing to a report that names the sentiment unit, in minutes
# make test   the default test suite
# make test-numerics  what is compared with an oracle, compiled as in training
# make test-slow  campaigns of kills and faults, clusters, a rehearsal: most of an hour
# make test-gpu-program  the step compiled for GPUs, without one; installs 0.7 GB
# make test-browser  the page of sdjax explore in a headless Chromium (Debian's)
# make notebook  runs docs/notebook.ipynb with what make demo left, and writes it anew
# make gpu-day  measures on a GPU; HALF=second the rest (docs/performance.md)
# make check  lint, format check, test and test-numerics: what .ci/run does

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
# Test files side by side, one per core.
JOBS ?= logical
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 8 --dist loadfile

.PHONY: demo test test-numerics test-slow test-gpu-program test-browser notebook gpu-day \
	gpu-day-rehearsal check clean

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(BIN)/.installed
	$(BIN)/sdjax prepare synthetic --shards 20/1/1 --out data/synthetic
	$(BIN)/sdjax labelled --out data/labelled
	$(BIN)/python train.py --config configs/quickstart.py --workdir $(RUN)
	$(BIN)/sdjax evaluate $(RUN) --corpus data/synthetic --split test --compressors
	for split in train valid test; do \
	  $(BIN)/python featurize.py --checkpoint $(RUN) \
	    --input data/labelled/$$split.csv --text-key sentence --label-key label \
	    --output features/$$split.npz || exit 1; \
	done
	$(BIN)/sdjax probe --train features/train.npz --valid features/valid.npz \
	  --test features/test.npz --out report

test: $(BIN)/.installed
	$(PYTEST)

test-numerics: $(BIN)/.installed
	SDJAX_TEST_OPTIMISED=1 $(PYTEST) -m numerics tests/model tests/training tests/features

# One after another: they time, kill and fill what they run on.
test-slow: $(BIN)/.installed
	$(BIN)/python -m pytest -m slow

$(BIN)/.gpu-program: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[gpu-program]'
	touch $@

test-gpu-program: $(BIN)/.gpu-program
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -m gpu_program tests/benchmarks

$(BIN)/.browser: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	touch $@

# Screenshots go to SHOTS, to be looked at. Gradio leaves event loops open at the end.
SHOTS ?= build/screenshots
test-browser: $(BIN)/.browser
	@command -v chromium chromedriver >/dev/null || { \
	  echo "needs a browser and its driver: apt-get install -y chromium chromium-driver"; \
	  exit 1; }
	SDJAX_SHOTS=$(SHOTS) $(BIN)/python -m pytest -m browser -s \
	  -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning \
	  tests/explore

notebook: $(BIN)/.installed
	$(BIN)/python tests/notebook.py

# With the Python at hand: the machine of the day may have no network to install from.
HALF ?= first
CORPUS ?= data/imdb
OUT ?= gpu-day
gpu-day:
	$(PYTHON) -m benchmarks.gpu_day $(HALF) --out $(OUT) --corpus $(CORPUS) $(if $(SST),--sst $(SST)) $(if $(SKIP),--skip $(SKIP))

gpu-day-rehearsal: $(BIN)/.installed
	$(BIN)/python -m benchmarks.gpu_day --rehearse --out $(OUT)/rehearsal

check: $(BIN)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(MAKE) test
	$(MAKE) test-numerics

clean:
	rm -rf $(VENV) data/synthetic data/labelled $(RUN) features report
