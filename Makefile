# Every target does its own set-up; all it needs is python3 (3.11 or later) and make.
#   make demo     train the quickstart ablation (no download) and print its table
#   make fashion  the main job: fashion_regularization on Fashion-MNIST into my_results/, apart from the shipped results
#                 of another machine, then its report; DATA_DIR=... if the data is not in its default folder
#   make report   rebuild all tables and plots from the records
#   make test     lint, type check, tests
#   make test-slow   the slow tests

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
DATA := $(if $(DATA_DIR),--data_dir=$(DATA_DIR))
RESULTS_DIR ?= my_results

.PHONY: demo fashion report test test-slow clean

demo: $(READY)
	$(BIN)/python -m harness.run --ablation=quickstart

fashion: $(READY)
	$(BIN)/python -m harness.run --ablation=fashion_regularization --results_dir=$(RESULTS_DIR) $(DATA)

report: $(READY)
	$(BIN)/python -m harness.report

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

# What takes longer and breaks seldom: parity at every size, a thousand runs in a browser, two launches at once.
test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope -m slow

# Built again whenever what is to be installed changes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv
