# The commands of the house. `make` alone lists them; the first that needs it makes .venv and installs into it.
# PYTHON makes .venv (at least 3.11); WORKERS are the test processes (0: none beside the first);
# PYTEST_ARGS goes to pytest, such as PYTEST_ARGS="-k vae".
PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CORE := .venv/.installed
DEV := .venv/.installed-dev
DOCS := .venv/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo test lint types doctest docs tutorials tutorials-short check clean

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: $(CORE)  ## train, judge and draw a few models
	@$(BIN)/python -m probae.demo

test: $(DEV)  ## all tests, the examples of the README among them
	@$(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST_ARGS)

lint: $(DEV)  ## ruff
	@$(BIN)/ruff check .

types: $(DEV)  ## basedpyright
	@$(BIN)/basedpyright

doctest: $(DEV)  ## the examples in docstrings
	@MPLBACKEND=Agg $(BIN)/python -m pytest -q --doctest-modules probae $(PYTEST_ARGS)

docs: $(DOCS)  ## the site, in build/docs; warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "The site is at build/docs/index.html"

tutorials: $(DEV)  ## run the tutorials whole and rewrite their notebooks (some minutes)
	@$(BIN)/python -m tutorials.run

tutorials-short: $(DEV)  ## run the tutorials in a short form, changing nothing
	@$(BIN)/python -m tutorials.run --short

check: test lint types doctest docs tutorials-short  ## all that a change must pass

clean:  ## remove .venv and what tools leave behind
	rm -rf .venv build dist docs/api docs/figures docs/tutorials/*.ipynb .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "probae needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The stamps: install once, and again only when pyproject.toml changes.
$(CORE): pyproject.toml | $(BIN)/python
	@echo "Installing probae and its dependencies into .venv (the first time a few GB, a minute or two) ..."
	@$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "Installing probae, its dependencies and the developers' tools into .venv" \
	      "(the first time a few GB, a minute or two) ..."
	@$(PIP) --editable '.[dev]'
	@touch $(CORE) $@

$(DOCS): pyproject.toml | $(DEV)
	@$(PIP) --editable '.[dev,docs]'
	@touch $@
