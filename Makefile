# Every target does its own set-up; all it needs is python3 (3.11 or later) and make.
#   make demo     train the quickstart ablation (no download) and print its table
#   make fashion  the main job: fashion_regularization on Fashion-MNIST, then its report; DATA_DIR=... if the data is
#                 not in its default folder
#   make report   tables, plots and pages from the records; of shipped results the pages alone
#   make gpu      on an NVIDIA GPU: the main job at each precision, and its speed beside PyTorch's
#   make test     lint, type check, tests
#   make test-slow   the slow tests
#   make soak     launches killed at random moments and at each write, and what that costs: up to a quarter of an hour
#   make audit    whether a version of constraints.txt is known to be vulnerable; asks PyPI
#   make check    lint, type check, a handful of tests: for a second Python, make check PYTHON=python3.13 VENV=.venv-3.13
# demo, fashion and report install what training and reporting need, test and check the developer's tools as well;
# EXTRA=cuda, or another extra of pyproject.toml, is installed in the tools' place.
# What is trained goes to my_results/, apart from the shipped results of another machine.

PYTHON ?= python3
VENV ?= .venv
EXTRA ?=
BIN := $(VENV)/bin
READY := $(VENV)/ready$(addprefix -,$(EXTRA))
TOOLS := $(VENV)/ready-$(or $(EXTRA),dev)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# A file of tests on one worker, whose fixtures its tests share; files in the order that tests/conftest.py gives them.
WORKERS := -n 2 --dist loadscope --no-loadscope-reorder
DATA := $(if $(DATA_DIR),--data_dir=$(DATA_DIR))

.PHONY: demo fashion report gpu test test-slow soak audit check clean

demo: $(READY)
	$(BIN)/python -m harness.run --ablation=quickstart

fashion: $(READY)
	$(BIN)/python -m harness.run --ablation=fashion_regularization $(DATA)

report: $(READY)
	$(BIN)/python -m harness.report

# On another machine, and smaller: make gpu GPU_PRECISIONS=float32 GPU_MORE=--smoke GPU_BENCH=
GPU_PRECISIONS ?= float32 tf32 bfloat16
GPU_BENCH ?= W1:64:tf32 W2:25:tf32 W2:25:bfloat16
GPU_MORE ?=
gpu: $(VENV)/ready-cuda
	$(BIN)/python -m harness.run --ablation=fashion_mlp --keep_weights=none $(GPU_MORE) $(DATA)
	set -e; for precision in $(GPU_PRECISIONS); do $(BIN)/python -m harness.run --ablation=fashion_regularization \
		--precision=$$precision --keep_weights=none $(GPU_MORE) $(DATA); done
	set -e; for row in $(GPU_BENCH); do set -- $$(echo $$row | tr : ' '); \
		$(BIN)/python -m harness.bench --workloads=$$1 --grid=$$2 --precision=$$3 --rounds=3; done

test: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

# What takes longer and breaks seldom: parity at every size, a thousand runs in a browser, two launches at once.
test-slow: $(TOOLS)
	$(BIN)/python -m pytest $(WORKERS) -m slow

soak: $(TOOLS)
	$(BIN)/python tests/soak.py --out=my_results/soak.json

audit: $(VENV)/ready-audit
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# What depends on the versions of Python and of jax, numpy and their types.
check: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/training/test_train.py tests/records/test_schemas.py tests/house/test_cli.py -m "not slow" \
		-k "training_learns or schema or a_launch_leaves"

# Built again whenever what is to be installed changes.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/ready-%: $(VENV)/ready
	$(INSTALL) --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV)
