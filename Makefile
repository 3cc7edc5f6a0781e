# Everything works on a machine with Python 3.11+, make and a package index; .venv is made on first use.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
WANTED := --constraint constraints.txt --editable ".[dev]"
# uv downloads and unpacks several packages at once, keeps them, and knows nothing of pip's settings.
UV = index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}"; \
	$${index:+env UV_DEFAULT_INDEX="$$index"} $(BIN)/uv pip install --quiet --python $(BIN)/python $(WANTED)
# uv installs sources only: without their bytecode, every process compiles torch and Ray anew, 10 s and more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test slow all check bench clean

demo: .venv/ready ## a sweep of 8 trials on the built-in corpus, through Ray Tune into MLflow
	$(BIN)/python sweeps/imdb_lt.py --toy --set training.lr=0.005 --set model.dropout=0.3 --seeds 2 --storage demo-runs

test: .venv/ready ## laws and oracles, minutes
	$(PYTEST) -m "not slow"

slow: .venv/ready ## kills, clusters, servers and real data
	$(PYTEST) -m slow

all: .venv/ready ## both, in less time than one after the other
	$(PYTEST)

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv || true
	$(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(WANTED)
	touch $@

clean:
	rm -rf .venv demo-runs
