# Everything a fresh machine needs: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOY := toy

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint test-full snapshots screenshots bench bench-terminal bench-trainer toy clean-demo

help:
	@echo "make demo       the whole experiment on the embedded toy model, with pictures, figures and the verdict"
	@echo "make test       lint, types, import walls and tests"
	@echo "make test-full  the same, with the long figures (kills, fuzz, simulations)"
	@echo "make bench      time and memory by part; full-size SDXL where a GPU is at hand"
	@echo "make bench-terminal   what the terminal costs, beside its budgets and beside textual-image and textual-plotext"
	@echo "make snapshots   write what the tests of the screens compare with; look at what changed"
	@echo "make screenshots the six screens of the dashboard as pictures for README, from a run of the toy"
	@echo "make bench-trainer REFERENCE=.../train_dreambooth_lora_sdxl.py   the trainer beside diffusers' own script; memory; a subject"
	@echo "make toy        train the embedded toy model again (hours on a CPU)"
	@echo "make clean-demo forget what the demo made"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("negtui needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch is large; a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[engine,dev]'
	@touch $(READY)

demo: $(READY)
	@$(BIN)/negtui run $(TOY)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: lint
	$(BIN)/python -m pytest -m "not full and not gpu"

test-full: lint
	$(BIN)/python -m pytest -m "not gpu"

bench: $(READY)
	$(BIN)/python tests/bench/full_size.py $(BENCH_ARGS)

bench-terminal: $(READY)
	$(BIN)/python tests/bench/terminal.py $(BENCH_ARGS)

snapshots: $(READY)
	SNAPSHOTS=write $(BIN)/python -m pytest -q -k looks_as_it_did tests/unit/negtui/screens

screenshots: $(READY)
	$(BIN)/python tests/snapshots/screenshots.py

bench-trainer: $(READY)
	@test -f "$(REFERENCE)" || { echo "REFERENCE must be diffusers' examples/dreambooth/train_dreambooth_lora_sdxl.py (docs/benchmarks.md)"; exit 1; }
	$(BIN)/python tests/bench/trainer_speed.py --reference "$(REFERENCE)" $(BENCH_ARGS)
	$(BIN)/python tests/bench/trainer_memory.py
	$(BIN)/python tests/bench/subject_lora.py

toy: $(READY)
	$(BIN)/python -m daemon.toy.build

clean-demo: $(READY)
	-$(BIN)/negtui daemon stop
	rm -rf sessions/$(TOY)/dataset sessions/$(TOY)/adapters sessions/$(TOY)/checkpoints sessions/$(TOY)/comparisons sessions/$(TOY)/metrics sessions/$(TOY)/cache
