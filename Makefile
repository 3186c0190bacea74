# Two commands do everything on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := .venv-core
DOCS := .venv-docs
SOURCES := $(shell find src -type f -not -name '*.pyc' -not -path '*.egg-info/*')
PACK ?= ../shared/data/recordings

.PHONY: help install demo docs reference test test-core matrix lint weights bench-real bench-day bench-accuracy bench-speed bench-scale bench-startup bench-model bench-training bench-adaptation bench-three-classes bench-kill-training bench-kill bench-same bench-runtimes bench-damaged bench-files bench-windows bench-review bench-evaluate bench-counts bench-report bench-walk bench-variants bench-failures bench-held-out bench-live-delay bench-live-soak bench-live-memory bench-live-floor bench-live-latency bench-live-kills bench-live-waiting check-arm clean single-file bundle bench-app

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## the environment in .venv; quick when nothing changed

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Loxo needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing Loxo and its packages into $(VENV): a download of 130 MB"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed: $(VENV)/.core
	@echo "Installing everything that the tests need, PyTorch too, into $(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.core  ## a soundscape with known calls, searched, drawn and reported into demo/; installs the core only
	$(BIN)/loxo demo --out demo

lint: install  ## style and types
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

test: install lint  ## style, types and tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

$(CORE)/.installed: pyproject.toml constraints.txt $(SOURCES)
	$(PYTHON) -m venv $(CORE)
	rm -rf build
	$(CORE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt . pytest pytest-timeout hypothesis httpx2 psutil
	touch $@

test-core: $(CORE)/.installed  ## tests of the installed package without extras: no PyTorch (two minutes)
	$(CORE)/bin/python -m pytest -p no:cacheprovider

single-file: $(CORE)/.installed  ## dist/loxo: the app in one file for this system, built with PyInstaller and tested
	$(CORE)/bin/python -m pip install --quiet --disable-pip-version-check pyinstaller
	$(CORE)/bin/pyinstaller --noconfirm --log-level WARN --distpath dist --workpath build/pyinstaller packaging/loxo.spec
	$(CORE)/bin/python -m pytest -p no:cacheprovider -s tests/test_single_file.py

bundle: ## dist/loxo-offline: wheels and an installer for computers without a network, for this system and Python
	$(PYTHON) packaging/bundle.py dist/loxo-offline

matrix: install  ## wheel and source archive; the core's tests on Python 3.11 to 3.14, lowest and newest packages (an hour)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/matrix.py $(MATRIX)

$(DOCS)/.installed: constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt zensical
	touch $@

docs: $(DOCS)/.installed  ## the documentation site in build/site, from docs/ (a minute); open build/site/index.html
	$(DOCS)/bin/python benchmarks/docs_site.py

reference: install  ## the generated pages and pictures of docs/: reference, notebooks of the tutorials, drawings
	$(BIN)/python benchmarks/docs_reference.py docs/reference
	$(BIN)/python benchmarks/docs_blocks.py docs
	$(BIN)/python benchmarks/docs_pictures.py docs

weights: install  ## the bundled default from nothing: trained, calibrated, checked (two and a half hours; PACK); goes on where it was
	$(BIN)/python benchmarks/default_weights.py --pack $(PACK) --out src/loxo/weights/default.safetensors

bench-real: install  ## the bundled model on real recordings, scored by the pack's own scorer
	$(BIN)/python benchmarks/real_recordings.py --pack $(PACK)

bench-day: install  ## speed and memory on a simulated file of 24 h: WAV and FLAC, 1 and 2 workers, all runtimes (BASE=SRC: beside another version)
	$(BIN)/python benchmarks/one_day.py $(if $(BASE),--base $(BASE)) $(DAY)

bench-windows: install  ## milliseconds for a training window out of an hour's WAV or FLAC
	$(BIN)/python benchmarks/recorded_windows.py

bench-review: install  ## the review page on a run of 100,000 events: opening, and from a key to the next event
	$(BIN)/python benchmarks/review_scale.py

bench-accuracy: install  ## models and classical detectors: a simulated survey, and real recordings (MODELS, PACK)
	$(BIN)/python benchmarks/bench_accuracy.py --models $(or $(MODELS),default) $(if $(wildcard $(PACK)/manifest.csv),--pack $(PACK) --backgrounds $(PACK)/manifest.csv) $(ACCURACY)

bench-speed: install  ## each stage of detection, beside what the machine can do (idle, 5 minutes)
	$(BIN)/python benchmarks/bench_speed.py

bench-scale: install  ## 1, 2 and 4 workers; 1,000 to 100,000 tiny files (idle, an hour)
	$(BIN)/python benchmarks/bench_scale.py

bench-startup: install  ## --help, import, the first event of a minute of sound
	$(BIN)/python benchmarks/bench_startup.py

bench-kill-training: install  ## a small training run killed ten times, beside one left in peace
	$(BIN)/python benchmarks/kill_training.py

bench-kill: install  ## 100 kills of runs over 50 recordings, one kill at each file-system event, 200 flipped bits
	$(BIN)/python benchmarks/kill_detection.py
	$(BIN)/python benchmarks/flip_bits.py

bench-same: install  ## the same bytes from 1, 2 and 4 processes, Dask, batches and shards of any size
	$(BIN)/python benchmarks/same_events.py

bench-runtimes: install  ## the same events by PyTorch, ONNX Runtime and OpenVINO: half an hour, a simulated week (30 minutes)
	$(BIN)/python benchmarks/same_runtimes.py

bench-damaged: install  ## 3,000 damaged recordings in 16 containers: no crash, hang, silent loss, or more than 700 MB
	$(BIN)/python benchmarks/damaged.py

bench-files: install  ## what the bookkeeping of a run over 10,000 short recordings costs
	$(BIN)/python benchmarks/many_files.py

bench-evaluate: install  ## evaluation of a million events: time and memory
	$(BIN)/python benchmarks/bench_evaluate.py

bench-counts: install  ## do the intervals of reviewed counts contain the truth: 200 simulated surveys (5 minutes)
	$(BIN)/python benchmarks/counts.py

bench-report: install  ## the report of a survey of 2,000 recordings: time and memory (a minute)
	$(BIN)/python benchmarks/bench_report.py

bench-walk: install  ## simulate, train, detect, evaluate: the default preset (hours; PACK, or WALK="--presets ...")
	$(BIN)/python benchmarks/full_walk.py --backgrounds $(PACK)/manifest.csv $(WALK)

bench-variants: install  ## front ends, windows, the stem: short trainings, three seeds each (an hour; PACK)
	$(BIN)/python benchmarks/variants.py --backgrounds $(PACK)/manifest.csv

bench-held-out: install  ## what training on some sources does on the others: six trainings (two hours; PACK)
	$(BIN)/python benchmarks/held_out_sources.py --pack $(PACK)

bench-failures: install  ## what the bundled model misses and what is false on real recordings, into runs/failures (PACK)
	$(BIN)/python benchmarks/bench_accuracy.py --models default --no-classical --as-shipped --only real --pack $(PACK)
	$(BIN)/python benchmarks/failures.py --work runs/bench-accuracy --pack $(PACK)

bench-model: install  ## the network alone beside Hugging Face's of the same size (an idle machine, 5 minutes)
	$(BIN)/python benchmarks/bench_model.py

bench-training: install  ## a training step of the default model beside the straightforward one (idle, 3 minutes)
	$(BIN)/python benchmarks/bench_training.py

bench-adaptation: install  ## loxo adapt at made-up sites with 5 to 50 annotated calls, three seeds (40 minutes)
	$(BIN)/python benchmarks/adaptation.py $(ADAPTATION)

bench-three-classes: install  ## rumble, gunshot and trumpet from own labels in 300 iterations (10 minutes)
	$(BIN)/python benchmarks/three_classes.py

bench-live-delay: install  ## recall and false positives of live detection over its delay, on two simulated hours
	$(BIN)/python benchmarks/live.py delay $(LIVE)

bench-live-soak: install  ## loxo listen at 60 times real time: 60 h of sound, memory, samples, events (an hour; LIVE="--hours 2")
	$(BIN)/python benchmarks/live.py soak $(LIVE)

bench-live-memory: install  ## highest resident memory of loxo listen and loxo watch, with alerts (LIVE="--hours 0.3")
	$(BIN)/python benchmarks/live.py memory $(LIVE)

bench-live-floor: install  ## events with a noise floor of minutes and an hour, on a simulated hour
	$(BIN)/python benchmarks/live.py floor $(LIVE)

bench-live-latency: install  ## from the end of a shot to its alert on a busy core (20 minutes; LIVE="--minutes 5")
	$(BIN)/python benchmarks/live.py latency $(LIVE)

bench-live-kills: install  ## 100 kills of loxo watch with alerts, over recordings that grow (5 minutes)
	$(BIN)/python benchmarks/live.py kills $(LIVE)

bench-live-waiting: install  ## 10,000 recordings that wait when loxo watch starts
	$(BIN)/python benchmarks/live.py waiting $(LIVE)

bench-app: install  ## the app: 200 recordings with 3 damaged, a killed server, stop and go on; 1,000 surveys; CPU time beside the command
	$(BIN)/python benchmarks/bench_app.py

check-arm: install  ## are there wheels of all packages for aarch64 (nothing is installed)
	$(BIN)/python benchmarks/check_arm.py

clean:  ## remove what the other targets made, but not runs/
	rm -rf $(VENV) $(CORE) $(DOCS) demo build dist src/*.egg-info
