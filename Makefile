# Two verbs do everything on a fresh machine: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes
N ?= 1000
BENCH ?=
SIM ?=
COMPILED := core wire storage model runtime/test_process.py runtime/test_ensemble.py testing/test_cluster.py

.PHONY: help setup run test slow lint fmt sim fuzz bench compat interop kerberos gateway gateway-test docs
.PHONY: fast fast-test lock clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: $(VENV)/ready-run  ## make .venv and install Coterie in it
run: setup  ## serve at 127.0.0.1:2181, with the data under ./data
	@exec $(BIN)/coterie serve

test: $(VENV)/ready-test  ## the fast tests
	$(BIN)/python -m pytest

slow: $(VENV)/ready-test  ## the tests that take minutes: kills, many seeds, many frames
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/ready-lint  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy coterie tests benchmarks tools examples
	$(BIN)/lint-imports
	$(BIN)/python -m tools.blocking --check

fmt: $(VENV)/ready-lint  ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/python -m tools.blocking
	$(BIN)/ruff format .

sim: $(VENV)/ready-test  ## N fresh seeds in the simulator (make sim N=10000; SIM=--recipes: of recipes)
	$(BIN)/coterie simulate --seeds $(N) $(SIM)

fuzz: $(VENV)/ready-fuzz  ## a coverage-guided fuzzer over the client protocol, for N inputs
	$(BIN)/python -m tests.fuzz.guided -runs=$(N)

bench: $(VENV)/ready-test $(if $(shell command -v cc),.fast/ready)  ## measure beside Apache ZooKeeper (make bench BENCH="--quick")
	$(BIN)/python -m benchmarks $(BENCH)

compat: $(VENV)/ready-test  ## kazoo's own tests, zkCli, the C client, Apache's server
	bash tests/compat/run.sh

interop: $(VENV)/ready-test  ## ensembles of our servers and Apache's: kills, joins, sessions
	bash tests/interop/run.sh

gateway: $(VENV)/ready-gateway  ## a science gateway cut into components (examples/gateway), with its live page
	@exec $(BIN)/python -m examples.gateway

gateway-test: $(VENV)/ready-gateway  ## the gateway under kill -9, and its pages in a browser
	bash tests/examples/gateway/run.sh

docs: $(VENV)/ready-lint  ## check that the documents name what exists; build/site is made of them
	$(BIN)/python -m tools.docs
	$(BIN)/python -m tools.site

kerberos: $(VENV)/ready-test  ## clients come in by Kerberos: ours, zkCli, kazoo; a KDC of its own
	bash tests/kerberos/run.sh

fast: .fast/ready  ## a second environment, .fast, with the hot modules compiled (needs a C compiler)

fast-test: .fast/ready-test  ## the tests of servers, against the compiled build
	rm -rf .fast/checkout && mkdir .fast/checkout
	cp -r tests benchmarks tools docs examples deploy pyproject.toml *.md Makefile .fast/checkout
	cd .fast/checkout && ../bin/python -m pytest -p no:cacheprovider \
		-m "not slow and not interpreted" $(addprefix tests/,$(COMPILED))

lock: $(VENV)/ready-run  ## pin the requirements anew
	$(BIN)/python -m pip install -q pip-tools
	for name in run test gateway lint fast compat fuzz kerberos; do \
		$(BIN)/python -m piptools compile -q --upgrade --generate-hashes --no-emit-index-url \
			--no-emit-trusted-host --no-emit-find-links --no-header --no-annotate \
			--strip-extras --allow-unsafe -o requirements/$$name.txt requirements/$$name.in; \
	done

clean:  ## away with what the verbs made; data stays
	rm -rf $(VENV) .fast build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Coterie needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready-run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/ready-test: requirements/test.txt $(VENV)/ready-run
	$(PIP) -r requirements/test.txt
	touch $@

$(VENV)/ready-gateway: requirements/gateway.txt $(VENV)/ready-test
	$(PIP) -r requirements/gateway.txt
	touch $@

$(VENV)/ready-lint: requirements/lint.txt $(VENV)/ready-test
	$(PIP) -r requirements/lint.txt
	touch $@

$(VENV)/ready-fuzz: requirements/fuzz.txt $(VENV)/ready-test
	$(PIP) -r requirements/fuzz.txt
	touch $@

.fast/ready: requirements/fast.txt requirements/run.txt pyproject.toml $(shell find coterie -name '*.py')
	$(PYTHON) -m venv .fast
	.fast/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	.fast/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/fast.txt
	rm -rf .fast/source && mkdir .fast/source
	cp -r coterie pyproject.toml README.md LICENSE .fast/source
	HATCH_BUILD_HOOKS_ENABLE=1 .fast/bin/python -m pip install -q --disable-pip-version-check \
		--no-deps --no-build-isolation --force-reinstall .fast/source
	rm -rf .fast/source
	touch $@

.fast/ready-test: requirements/test.txt .fast/ready
	.fast/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/test.txt
	touch $@
