# `make run` runs the quickstart sweep, `make quick` the quick checks, `make test` all of them, `make endurance` those that repeat
# a random scenario at their full size, `make docs` builds the book as a site. Each installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTS := tests
ENDURANCE := 1

.PHONY: run quick test endurance docs lint clean

run: $(INSTALLED)
	$(BIN)/transfergan run quickstart

quick: lint
	$(BIN)/pytest -m 'not slow' --numprocesses 2 --dist loadfile

# A third process works while the tests of the others wait for Ray, and mypy works beside them; what it found is printed last.
# A shell starts background processes with Ctrl-C ignored.
test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy >$(VENV)/mypy.txt 2>&1 & mypy=$$!; trap 'kill $$mypy; exit 130' INT TERM; \
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$mypy; types=$$?; cat $(VENV)/mypy.txt; exit $$((tests || types))

endurance: $(INSTALLED)
	ENDURANCE=$(ENDURANCE) $(BIN)/pytest -m endurance --numprocesses 2 --dist loadfile $(TESTS)

# The book as a site, in build/book/site.
docs: $(INSTALLED)
	$(BIN)/python -m tests.book build/book
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file build/book/mkdocs.yml

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2

$(INSTALLED): pyproject.toml constraints.txt tests/support/s3-server.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "transfergan needs Python 3.11 or newer; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # on all cores; some packages hold templates
	$(PYTHON) -m venv $(VENV)/s3-server
	$(VENV)/s3-server/bin/python -m pip install --quiet --requirement tests/support/s3-server.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
