# make run [SOCKET=/tmp/qmpd.sock] [DISK=disk0=1G]   set up, start the daemon with a disk, and say how to connect
# make test   set up, and run the tests, on all cores
# make long   what compares with every QEMU, with many more examples: hours
# make quick  the tests that take seconds and need no QEMU
# make cover  the same, and which lines and branches of qmpd they run in the tests' own process
# make iotests [TESTS="030 quick expected all"]   QEMU's own block tests on qmpd, and what became of each
# make lint   formatting, lint, types, layers
# make bench  qmpd beside qemu-storage-daemon, as ratios (BENCH="--quick NBD": fewer)
# make results  the same, written to benchmarks/RESULTS.md
# make fuzz [S=600] [FUZZ="--seed 7 nbd"]  hostile input for S seconds in all; what goes wrong is kept in build/fuzz

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOCKET ?= /tmp/qmpd.sock
DISK ?= disk0=1G
PYTEST_ARGS ?=
TESTS ?= expected
IOTESTS_ARGS ?=
BENCH ?=
S ?= 600
FUZZ ?=
# A file of tests stays on one core: its tests share daemons.
PARALLEL ?= --numprocesses auto --dist loadfile
# With as many examples as the comparisons were made with that docs/versions.md tells of.
LONG := "long or differential"
LONG_EXAMPLES ?= 300
QUICK := "not long and not slow and not differential and not clients"

.PHONY: run test long quick cover iotests lint format models bench results fuzz clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run
	@echo "connect with:  $(BIN)/qmp-shell $(SOCKET)"
	@echo "stop with:     Ctrl-C (or the command quit, at which qmp-shell says EOFError, as on QEMU)"
	$(BIN)/qmpd serve --qmp unix:$(SOCKET) --disk $(DISK) -v

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

long: $(VENV)/.dev
	QMPD_VERSION_EXAMPLES=$(LONG_EXAMPLES) $(BIN)/python -m pytest $(PARALLEL) --timeout 0 -m $(LONG) $(PYTEST_ARGS)

quick: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) -m $(QUICK) $(PYTEST_ARGS)

cover: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) -m $(QUICK) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

iotests: $(VENV)/.dev
	$(BIN)/python -m tests.iotests $(IOTESTS_ARGS) $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: $(VENV)/.dev
	$(BIN)/qmpd schema generate

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(BENCH)

results: $(VENV)/.dev
	$(BIN)/python -m benchmarks --results benchmarks/RESULTS.md $(BENCH)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz --seconds $(S) $(FUZZ)

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
