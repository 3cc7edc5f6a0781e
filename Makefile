# Everything works on a machine with Python 3.11+, make and a package index; .venv is made on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow check bench clean

demo: .venv/ready ## a sweep of 8 trials on the built-in corpus, through Ray Tune into MLflow
	$(BIN)/python sweeps/imdb_lt.py --toy --set training.lr=0.005 --set model.dropout=0.3 --seeds 2 --storage demo-runs

test: .venv/ready ## laws and oracles, minutes
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

slow: .venv/ready ## kills, clusters, servers and real data
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile

check: .venv/ready ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready ## ratios against references, in one run
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/cnn_step.py
	$(BIN)/python benchmarks/cka.py
	$(BIN)/python benchmarks/wanda.py
	$(BIN)/python benchmarks/tracking.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lt_ray needs Python 3.11 or later: make PYTHON=python3.11 …")'
	@echo "Installing into .venv: about 7 GB and 2 to 5 minutes, once."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv demo-runs
