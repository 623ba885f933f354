# make train | test | check        Every target sets up .venv first.
PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/.ready

# A worker that dies ends the run: pytest-xdist may wait for ever for the one in its place.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0

.PHONY: setup train test check format

train: $(READY)
	$(VENV)/bin/zoo train vgg16 $(ARGS)

test: $(READY)
	$(PYTEST) $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $(READY)
