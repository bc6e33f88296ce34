# What is done with this project. Each target does its own set-up; on Debian it takes git, make and python3-venv.
PYTHON ?= python3
PRESET ?= default
OUT ?= results
TORCH_INDEX ?=
HASHES ?=
ARGS ?=
REAL ?=
STROKES ?= data/unipen
FONTS ?= data/fonts
ENGINE ?= local
ADDRESS ?=

# Of data sets.
export SEQOCR_DATA ?= data

VENV := .venv
PY := $(VENV)/bin/python
# pip shows its progress to a person and keeps quiet in a log.
PIP_INSTALL = $(PY) -m pip install --disable-pip-version-check $(shell [ -t 2 ] || echo --quiet)
PIP = $(PIP_INSTALL) -c constraints.txt

# What runs cells that are not timed, and what that takes.
ON := --engine $(ENGINE) $(if $(ADDRESS),--address $(ADDRESS))
SCALE := $(if $(filter ray,$(ENGINE)),$(VENV)/.scale)

# What the reader learns from: an eighth on the grid, three eighths and four eighths harder; in the end the reverse.
MIXTURE := --length 1-10 --level grid,jitter,jitter,jitter,wild,wild,wild,wild
JITTERED := --length 1-10 --level grid,jitter,jitter,jitter,jitter,wild,wild,wild

# In the end: lines by one writer each, from pen strokes and from bitmaps, beside plainer ones.
WRITTEN := --level grid,jitter,jitter --glyphs $(STROKES),$(STROKES),$(STROKES),qmnist,qmnist --length 1-10 \
	--repeats 0.15 --optimizer muon --validation-strings 1600

# Numbers of any look: lines by pen, of which the encoder first learns the features of `strings`, and as many rendered.
TWO = $(VENV)/bin/torchrun --nproc-per-node 2 -m seqocr
RENDERED := fonts:$(FONTS),fonts:$(FONTS),fonts:$(FONTS),fonts:$(FONTS)
PENS := $(STROKES),$(STROKES),$(STROKES),$(STROKES),qmnist
LINES := --heads ar,parallel,ctc --max-length 24 --length 1-10 --repeats 0.15 --photographs 0.4 --augment 0.5 \
	--validation-strings 800
BY_PEN := $(LINES) --level grid,jitter,wild --glyphs $(PENS)
FAST := --epochs-of-lines 3 --optimizer muon --learning-rate 1.2e-3 --batch-size 96
ANY := $(LINES) $(FAST) --level grid,jitter,wild --glyphs $(PENS),$(RENDERED),$(RENDERED)
MORE_BY_HAND := $(LINES) $(FAST) --level grid,jitter,jitter,wild,wild --glyphs $(PENS),$(RENDERED),fonts:$(FONTS),fonts:$(FONTS)

.DEFAULT_GOAL := help
.PHONY: help setup extras demo test test-browser test-scale bench bench-check verify wheel release-check docs study curves family train train-strings train-numbers ship report lint

help: ## list the targets and variables
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo 'Commands of the benchmark ($(PY) -m bench COMMAND --help):'
	@awk '/^@app.command/ { name = $$0; if (!sub(/.*\("/, "", name)) name = ""; sub(/".*/, "", name); found = 1 } \
		found && /^def / && name == "" { name = $$2; sub(/\(.*/, "", name) } \
		found && /^    """/ { sub(/^    """/, ""); sub(/""".*/, ""); sub(/[.] .*/, ""); printf "  %-16s %s\n", name, $$0; found = 0 }' bench/__main__.py
	@echo 'Variables (make bench PRESET=smoke):'
	@echo '  PRESET       size of the benchmark: smoke, default or full [$(PRESET)]'
	@echo '  OUT          folder of the report, plots, tables and raw measurements [$(OUT)]'
	@echo '  PYTHON       Python 3.11 or newer that makes .venv [$(PYTHON)]'
	@echo '  TORCH_INDEX  package index that torch comes from in place of PyPI; for the CPU build, a tenth'
	@echo '               of the CUDA one: https://download.pytorch.org/whl/cpu [$(TORCH_INDEX)]'
	@echo '  HASHES       not empty: all but torch is installed by the SHA-256 of its file, as in CI [$(HASHES)]'
	@echo '  REAL         folder of labelled real lines that bench also reads, and fine-tunes on [$(REAL)]'
	@echo '  STROKES      folder of pen strokes, such as a copy of UNIPEN, for train-strings and train-numbers [$(STROKES)]'
	@echo '  FONTS        folder that fonts are fetched to, for train-numbers [$(FONTS)]'
	@echo '  ENGINE       runs what bench and study do not time: local (processes here) or ray [$(ENGINE)]'
	@echo '  ADDRESS      of a Ray cluster, HOST:PORT or ray://HOST:PORT; none: a Ray here, for the run [$(ADDRESS)]'
	@echo '  ARGS         more options for the command, such as ARGS="-k ctc" for test [$(ARGS)]'

setup: $(VENV)/.setup ## make .venv with the pinned dependencies (the other targets do it by themselves)

extras: $(VENV)/.extras ## add what PRESET=full measures besides: other runtimes, LoadGen, other readers

demo: $(VENV)/.demo ## open a page where heads race, and serve what reads: http://127.0.0.1:7860
	$(VENV)/bin/seqocr serve $(ARGS)

# A thread each, since more than cores would wait for each other; a worker more than cores, since some wait for processes.
test: $(VENV)/.demo ## run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $$(($$($(PY) -c "import os; print(min(os.cpu_count(), 4))") + 1)) --dist loadfile \
		--no-loadscope-reorder $(ARGS)

test-browser: $(VENV)/.browser ## drive the page in Chromium, which this installs
	SEQOCR_BROWSER=1 $(PY) -m pytest tests/browser $(ARGS)

test-scale: $(VENV)/.scale ## test what needs Ray or an object store, which this installs
	@$(PIP) 'moto[server]' s3fs
	SEQOCR_SCALE=1 $(PY) -m pytest tests/batch/test_ray.py tests/batch/test_s3.py \
		tests/bench/core/test_ray_engine.py tests/bench/experiments/test_scale.py $(ARGS)

bench: $(VENV)/.setup $(SCALE) ## measure every head and write the report to OUT
	$(PY) -m bench run --preset $(PRESET) --out $(OUT) $(ON) $(if $(REAL),--real $(REAL)) $(ARGS)

bench-check: $(VENV)/.demo ## time every head and fail where passes, FLOPs, or ratios of times rose
	$(PY) -m pytest tests/bench/regression --benchmark-enable $(ARGS)

verify: $(VENV)/.setup ## compare results with the code as it is: whether they are whole, and what has changed since
	$(PY) -m bench verify --out $(OUT) $(ARGS)

wheel: $(VENV)/.setup ## build the package, install it alone into an empty environment, and read lines there
	.ci/wheel $(PY)

release-check: $(VENV)/.setup ## as wheel, and leave what a release consists of in dist/, its metadata checked
	@$(PIP) build twine
	.ci/wheel $(PY) dist

docs: $(VENV)/.docs ## build the site, build/site: documents, report and interface; fails where a link is dead
	NO_MKDOCS_2_WARNING=1 .ci/docs $(PY)

study: $(VENV)/.setup $(SCALE) ## when does autoregression pay: train and read every label distribution (PRESET=smoke or full)
	$(PY) -m bench study --preset $(if $(filter smoke,$(PRESET)),smoke,full) --out $(OUT) $(ON) $(ARGS)

curves: $(VENV)/.setup $(SCALE) ## how fast does each head learn a label distribution (PRESET=smoke or full)
	$(PY) -m bench curves --preset $(if $(filter smoke,$(PRESET)),smoke,full) --out $(OUT) $(ON) $(ARGS)

family: $(VENV)/.setup $(SCALE) ## encoders of several sizes, trained and read with the same heads (PRESET=smoke or full)
	$(PY) -m bench family --preset $(if $(filter smoke,$(PRESET)),smoke,full) --out $(OUT) $(ON) $(ARGS)

train: $(VENV)/.setup ## train the recognizer whose weights are shipped, into runs/tiny
	$(VENV)/bin/seqocr train --out runs/tiny-1 --steps 16000 --batch-size 64 --learning-rate 2e-3 --warmup 400 \
		--validate-every 1000 --save-every 250 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/tiny --init runs/tiny-1 --augment 0.5 --steps 3000 --batch-size 64 \
		--learning-rate 5e-4 --warmup 100 --validate-every 500 --save-every 250 $(ARGS)

train-strings: $(VENV)/.setup ## train the reader of any line, into runs/strings (STROKES=folder of pen strokes)
	$(VENV)/bin/seqocr train --out runs/strings-1 --init tiny --image-size 40x320 --patch 40x10 $(MIXTURE) \
		--steps 8000 --learning-rate 1.5e-3 --warmup 300 --validate-every 500 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-2 --init runs/strings-1 $(MIXTURE) --repeats 0.25 \
		--steps 7500 --learning-rate 1e-3 --warmup 100 --validate-every 500 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-3 --init runs/strings-2 $(MIXTURE) --repeats 0.2 --ctc-frames 2 \
		--augment 0.6 --steps 3000 --learning-rate 7e-4 --warmup 50 --validate-every 500 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-4 --init runs/strings-3 --layers 6 $(MIXTURE) --repeats 0.2 \
		--augment 0.4 --optimizer muon --steps 9800 --learning-rate 1e-3 --warmup 200 --validate-every 1500 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-5 --init runs/strings-4 $(JITTERED) --repeats 0.2 \
		--augment 0.3 --optimizer muon --steps 8300 --learning-rate 1e-3 --warmup 100 --validate-every 1500 --seed 1 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-6 --init runs/strings-5 $(JITTERED) --repeats 0.2 \
		--augment 0.3 --optimizer muon --steps 8800 --learning-rate 1e-3 --warmup 100 --validate-every 1500 --seed 2 $(ARGS)
	$(VENV)/bin/seqocr average runs/strings-5 runs/strings-6 --out runs/strings-7
	$(VENV)/bin/seqocr train --out runs/strings-8 --init runs/strings-7 --layers 8 $(WRITTEN) --augment 0.3 \
		--steps 10000 --learning-rate 1e-3 --warmup 200 --validate-every 1000 --seed 1 $(ARGS)
	$(VENV)/bin/seqocr train --out runs/strings-9 --init runs/strings-8 $(WRITTEN) --teachers runs/teachers \
		--steps 8000 --learning-rate 1e-3 --warmup 200 --validate-every 1500 --seed 2 $(ARGS)
	$(VENV)/bin/seqocr average runs/strings-8 runs/strings-9 --out runs/strings

train-numbers: $(VENV)/.setup ## train the reader of numbers of any look, into runs/numbers (STROKES, FONTS)
	$(VENV)/bin/seqocr data --fonts $(FONTS)
	$(TWO) train --out runs/numbers-1 --encoder compact --layers-of strings --protocol features $(BY_PEN) \
		--steps 800 --batch-size 64 --learning-rate 1.5e-3 --warmup 50 --validate-every 400 $(ARGS)
	$(TWO) train --out runs/numbers-2 --init runs/numbers-1 --marks $(ANY) --steps 1300 --warmup 200 --seed 2 $(ARGS)
	$(TWO) train --out runs/numbers-5 --init runs/numbers-2 --marks $(ANY) --steps 8300 --warmup 50 --seed 5 $(ARGS)
	$(TWO) train --out runs/numbers-6 --init runs/numbers-5 --marks $(MORE_BY_HAND) --steps 4000 --warmup 50 --seed 6 $(ARGS)
	$(VENV)/bin/seqocr average runs/numbers-5 runs/numbers-6 --out runs/numbers

ship: $(VENV)/.setup ## put what train, train-strings and train-numbers made into the package: 16 bits, calibrated, graphs
	for name in tiny strings numbers; do \
		case $$name in \
			tiny) held_out="--level grid --length 5"; glyphs= ;; \
			strings) held_out="--level grid,jitter,wild"; glyphs= ;; \
			numbers) glyphs="--glyphs $(STROKES),fonts:$(FONTS)"; held_out="--level wild $$glyphs --photographs 0.4" ;; \
		esac; \
		$(VENV)/bin/seqocr average runs/$$name --half --out seqocr/weights/$$name && \
		$(VENV)/bin/seqocr calibrate --weights seqocr/weights/$$name $$held_out && \
		$(VENV)/bin/seqocr export --weights seqocr/weights/$$name --heads parallel,ctc --precision int8 $$glyphs \
			--out seqocr/weights/$$name/onnx || exit 1; \
	done

report: $(VENV)/.setup ## write the report again from the measurements in OUT, its first screen into README, and model cards
	$(PY) -m bench report --out $(OUT) $(if $(filter results,$(OUT)),--readme README.md) $(ARGS)

lint: $(VENV)/.lint ## check style and types
	$(PY) -m ruff check .
	$(PY) -m mypy

# setuptools comes first so that the build of this project uses the pinned one, not the newest.
$(VENV)/.setup: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'error: "$(PYTHON)" is not Python 3.11 or newer: name one that is, as in make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo 'error: "$(PYTHON)" cannot make virtual environments: on Debian, apt-get install python3-venv' >&2; exit 1; }
	@echo 'Setting up $(VENV) (minutes, once)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch torchvision
	@$(if $(HASHES),$(PIP_INSTALL) --no-deps --require-hashes -r requirements/ci.txt)
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation -e '.[bench,test,onnx]'
	@touch $@

$(VENV)/.extras: $(VENV)/.setup
	@$(PIP) --no-build-isolation -e '.[openvino,load,peers]'
	@$(PIP) --no-deps python-doctr
	@touch $@

$(VENV)/.scale: $(VENV)/.setup
	@$(PIP) --no-build-isolation -e '.[scale]'
	@touch $@

$(VENV)/.docs: $(VENV)/.setup
	@$(PIP) --no-build-isolation -e '.[docs]'
	@touch $@

$(VENV)/.demo: $(VENV)/.setup
	@$(PIP) --no-build-isolation -e '.[demo]'
	@touch $@

# Debian's Chromium where apt is allowed to install it, or else Playwright's own.
$(VENV)/.browser: $(VENV)/.demo
	@$(PIP) --no-build-isolation -e '.[browser]'
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y chromium; } || \
		$(PY) -m playwright install --with-deps chromium
	@touch $@

$(VENV)/.lint: $(VENV)/.demo
	@$(PIP) --no-build-isolation -e '.[lint]'
	@touch $@
