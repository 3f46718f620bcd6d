# What CI calls is what a person calls. `make` alone says what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BOOK := _build/html/index.html
JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help env book serve test lint format notebooks bench gpu wheel clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11, 4) or sys.exit("Music AI needs Python 3.11.4 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "Python's venv is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[book,test]'
	@touch $@

env: $(VENV)/.ready  ## the virtual environment with everything in it

book: $(VENV)/.ready  ## render the book (stored outputs; seconds)
	$(BIN)/python -m scripts.build_studio
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "The book: file://$(CURDIR)/$(BOOK)   (or: make serve)"

serve: book  ## render the book and show it at http://localhost:8000
	@$(BIN)/python -m webbrowser -t http://localhost:8000 >/dev/null 2>&1 || true
	$(BIN)/python -m http.server --bind localhost --directory $(dir $(BOOK)) 8000

test: lint  ## everything: style, package, book, notebooks
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MUSICAI_SCALE=smoke $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder tests

lint: $(VENV)/.ready  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready  ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/.ready  ## execute every chapter and store its outputs (MUSICAI_SCALE chooses the scale)
	$(BIN)/python scripts/run_notebooks.py

bench: $(VENV)/.ready  ## every benchmark: one table of ratios each
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

gpu:  ## everything that wants a GPU, on a machine with CUDA torch (scripts/gpu.sh: also without network)
	bash scripts/gpu.sh

wheel: $(VENV)/.ready  ## the wheel, in dist/
	@rm -rf build  # else modules that are gone come back from there
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## what was built
	rm -rf _build build dist *.egg-info
