# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PYTEST ?= $(BIN)/pytest -n 2 --dist loadfile
DEMO ?=

.PHONY: demo test acceptance check lint types screenshots clean help

help: ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV): a minute or two, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.tested: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed ## run the main job: a harmful variant is turned back; look at its page, Ctrl-C ends it
	$(BIN)/turnback demo $(DEMO)

test: $(VENV)/.tested ## everything a change must pass, at reduced size
	$(MAKE) --no-print-directory lint types
	$(PYTEST)

acceptance: $(VENV)/.tested ## full sizes, resumable; writes docs/acceptance.md
	$(BIN)/python tests/acceptance/run.py

check: test ## the same as `make test`

lint: $(VENV)/.tested ## style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.tested ## pyright strict on code
	$(BIN)/pyright

screenshots: $(VENV)/.tested ## make the pictures of README and docs: a demo's page, drawn curves
	$(BIN)/python docs/operating_characteristic.py
	$(BIN)/python docs/screenshots.py

clean: ## remove what was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis turnback-data
