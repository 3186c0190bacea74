# Two commands do everything on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACK ?= ../shared/data/recordings

.PHONY: help install demo test lint weights bench-real bench-day bench-model clean

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## the environment in .venv; quick when nothing changed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Loxo needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install  ## a soundscape with known calls, searched, listed and drawn into demo/
	$(BIN)/loxo demo --out demo

lint: install  ## style and types
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

test: install lint  ## style, types and tests
	$(BIN)/python -m pytest

weights: install  ## train the bundled default again (PACK: folder with manifest.csv); goes on where it was
	$(BIN)/loxo train --backgrounds $(PACK)/manifest.csv --out runs/default $(if $(wildcard runs/default/run.json),--resume)
	cp runs/default/model.safetensors src/loxo/weights/default.safetensors

bench-real: install  ## the bundled model on real recordings, scored by the pack's own scorer
	$(BIN)/python benchmarks/real_recordings.py --pack $(PACK)

bench-day: install  ## speed and memory over a simulated file of 24 h
	$(BIN)/python benchmarks/one_day.py

bench-model: install  ## the network alone beside Hugging Face's of the same size (an idle machine, 5 minutes)
	$(BIN)/python benchmarks/bench_model.py

clean:  ## remove what the other targets made, but not runs/
	rm -rf $(VENV) demo build dist src/*.egg-info
