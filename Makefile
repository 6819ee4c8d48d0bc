# Everything that is done with this repository. `make` alone prints this list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ENGINE := .engine
DEMO   := .demo
# As the example's AppImages name it.
PSI_IMAGE := localhost/psi-example:1.0.0
# The versions that are tested; empty for the newest that setup.cfg allows.
CONSTRAINTS ?= scripts/constraints.txt
# How long soak-servers and soak-lines go on.
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-containers demo-kubernetes image run test test-hostile test-containers test-kubernetes test-page test-examples test-postgres test-pythons soak soak-servers soak-lines fuzz check check-page coverage release-check mutants bench bench-full bench-servers bench-kubernetes fmt proto docs vendor clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: setup.cfg pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.11 …"; exit 1; }
	@echo "downloading up to 125 MB (the server alone would be 19 MB); what pip has in its cache is not fetched again"
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(VENV)/.ready ## create .venv with the server and the development tools (a download of 125 MB)

$(ENGINE)/.ready: examples/psi/setup_engine.sh $(shell find examples/psi/engine -name '*.py' -o -name '*.toml' -o -name '*.cfg')
	PYTHON=$(PYTHON) examples/psi/setup_engine.sh $(ENGINE)
	@touch $@

EXAMPLE := --app-image-dir examples/psi/appimages --path $(CURDIR)/$(ENGINE)/bin

demo: $(VENV)/.ready $(ENGINE)/.ready ## run a real two-party job (private set intersection), verify its result, and show it on the page
	@rm -rf $(DEMO)/data $(DEMO)/domains && mkdir -p $(DEMO) && cp -r examples/psi/data $(DEMO)/domains
	$(BIN)/kusciajob run examples/psi/job.json --data-dir $(DEMO)/data --domains-dir $(DEMO)/domains $(EXAMPLE)
	@$(BIN)/python examples/psi/verify.py $(DEMO)/domains
	@VENV=$(VENV) scripts/show_job.sh psi-demo $(DEMO)/data --domains-dir $(DEMO)/domains $(EXAMPLE)

demo-containers: $(VENV)/.ready ## run the same job with each party in a container of its own (Docker or Podman; 80 MB to download)
	VENV=$(VENV) scripts/demo_containers.sh $(DEMO)/containers $(PSI_IMAGE)

demo-kubernetes: $(VENV)/.ready ## run it on the cluster of KUBECONFIG, or on one of two nodes that is built and started here
	VENV=$(VENV) scripts/demo_kubernetes.sh $(DEMO)/kubernetes $(PSI_IMAGE)

image: ## build the image of the server, localhost/kusciajob:dev
	scripts/build_image.sh localhost/kusciajob:dev .

run: $(VENV)/.ready ## start a server with the example's AppImages
	$(BIN)/kusciajob serve $(EXAMPLE)

# Servers are started by the hundred: compiling their modules each time is a quarter of what that costs.
test test-hostile: export PYTHONDONTWRITEBYTECODE =
# None of them goes to the internet, and a server's start would read all the machine's certificates for that.
test test-hostile: export SSL_CERT_FILE = /dev/null
# A worker has a file to itself, and with it the server of the file. The short ones of tests/unit come last.
PYTEST = $(BIN)/python -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder

# What needs an engine, a cluster or a browser.
ELSEWHERE := --ignore tests/containers --ignore tests/cluster --ignore tests/page

test: $(VENV)/.ready ## run the test suite, but for what test-hostile, test-containers, test-kubernetes, test-page and test-postgres run
	@echo "left out: tests that attack, kill or damage for long (make test-hostile), with containers (make test-containers), on a cluster (make test-kubernetes), in a browser (make test-page), on PostgreSQL (make test-postgres)"
	$(PYTEST) -m "not hostile and not postgres" $(ELSEWHERE)

test-containers: $(VENV)/.ready ## run the container runtime over the engine of DOCKER_HOST, else over Podman, and deploy/compose by Docker; they are installed if need be (6 minutes)
	$(if $(DOCKER_HOST),,scripts/container_engine.sh > /dev/null)
	scripts/compose.sh
	$(BIN)/python -m pytest tests/containers --timeout 900

test-page: $(VENV)/.ready $(ENGINE)/.ready scripts/page/node_modules/.ready ## run the page in Chromium, of CHROMIUM or Debian's package, which is installed if need be (3 minutes)
	scripts/browser.sh > /dev/null
	@$(BIN)/python -c 'import playwright' 2>/dev/null || \
	    PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[page]'
	$(BIN)/python -m pytest tests/page --numprocesses 2 --dist loadfile

test-postgres: $(VENV)/.ready ## run the store in PostgreSQL and several servers on it, with Debian's package, which is installed if need be, or the programs in POSTGRES_BIN (10 minutes)
	scripts/postgres.sh
	$(BIN)/python -m pytest -m postgres --numprocesses 2 --dist loadfile $(ELSEWHERE)

test-kubernetes: $(VENV)/.ready ## run the Kubernetes runtime on the cluster of KUBECONFIG, or on one that is built and started here (20 minutes to build it)
	$(BIN)/python -m pytest tests/cluster --timeout 2400

test-hostile: $(VENV)/.ready ## attack the server, damage its files, hang its shim, upgrade it while tasks run (5 minutes)
	$(PYTEST) -m "hostile and not postgres" $(ELSEWHERE)
	$(PYTEST) -m "not hostile and not postgres" -o asyncio_debug=true tests/conformance tests/unit

test-pythons: ## run the tests that need no server on the newest Python that is here, or on those of PYTHONS ("3.12 3.13"; 2 minutes each)
	CONSTRAINTS=$(CONSTRAINTS) scripts/test_pythons.sh $(PYTHONS)

test-examples: ## follow the README of each example of tests of applications: Python, Java, Go; Maven comes by apt if need be (3 minutes)
	PYTHON=$(PYTHON) scripts/test_examples.sh

soak: $(VENV)/.ready ## kill the server 200 times under load, suspend it for a minute, look at what is left (15 minutes at most)
	$(BIN)/python -m tests.faults.soak --rounds 200 --seconds 780 --suspend-seconds 60

soak-servers: $(VENV)/.ready ## kill two of three servers on one PostgreSQL and freeze one, in turn, for SECONDS (ten minutes)
	$(BIN)/python -m tests.faults.soak_servers --seconds $(SECONDS)

soak-lines: $(VENV)/.ready ## lose packets between three servers, PostgreSQL and clients for SECONDS (ten minutes; as root)
	unshare --net $(BIN)/python -m tests.faults.soak_lines --seconds $(SECONDS)

fuzz: $(VENV)/.ready ## feed the server and its loaders with nonsense, new nonsense each time (15 minutes at most)
	FUZZ_TIMES=12 timeout 500 $(BIN)/python -m pytest tests/fuzz --numprocesses 5 --dist load
	$(BIN)/python -m tests.fuzz.coverage --seconds 50

# What takes long, and reaches no line of these rooms that others do not.
UNMEASURED := $(patsubst %,--ignore tests/unit/test_%.py,proto_contract told_once terminal certificates)

coverage: $(VENV)/.ready ## measure what the quick tests reach of the rooms that decide, against the floor in setup.cfg (2 minutes of processor time)
	$(PYTEST) -m "not postgres" tests/unit tests/conformance $(UNMEASURED) --cov

check: $(VENV)/.ready ## lint, types, import contracts, protos, generated parts, documents, coverage, known holes: changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHON=$(BIN)/python scripts/gen_proto.sh --check
	PYTHON=$(BIN)/python scripts/check_proto.sh
	$(MAKE) --no-print-directory check-page
	$(BIN)/python scripts/gen_docs.py --check
	$(BIN)/python scripts/audit.py
	$(MAKE) --no-print-directory coverage

scripts/page/node_modules/.ready: scripts/page/package-lock.json | $(VENV)/.ready
	VENV=$(VENV) scripts/npm.sh ci --silent --ignore-scripts --no-audit --no-fund --prefix scripts/page
	@touch $@

check-page: scripts/page/node_modules/.ready ## lint the page's modules and check their types, with Node.js
	VENV=$(VENV) scripts/npm.sh run --silent --prefix scripts/page check

release-check: ## build sdist and wheel, install the wheel into an empty environment and run a job there
	PYTHON=$(PYTHON) scripts/release_check.sh

# How long; 0: until all is tried. What: files and directories, none for those that scripts/mutants.py names.
MINUTES ?= 10
MUTATED ?=

mutants: $(VENV)/.ready ## change the code in one place after the other and print what no test notices (MINUTES=10, MUTATED=<paths>)
	@$(BIN)/python -c 'import cosmic_ray' 2>/dev/null || \
	    PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	$(BIN)/python scripts/mutants.py --minutes $(MINUTES) $(MUTATED)

bench: $(VENV)/.ready ## measure against the floor of the stack, within 10 minutes; writes benchmarks/results.*
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/.ready ## the same with more rounds and a million stored jobs
	$(BIN)/python -m benchmarks --full

bench-servers: $(VENV)/.ready ## measure one to three servers on one PostgreSQL beside one on SQLite; writes benchmarks/several.json
	$(BIN)/python -m benchmarks.several

bench-kubernetes: $(VENV)/.ready ## measure the Kubernetes runtime on a cluster that is started here; writes benchmarks/kubernetes.json
	$(BIN)/python -m benchmarks.kubernetes

fmt: $(VENV)/.ready ## format and mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/.ready ## compile proto/ into kusciajob/_gen
	PYTHON=$(BIN)/python scripts/gen_proto.sh

vendor: $(VENV)/.ready ## fetch the page's libraries from npm again, in the versions of kusciajob/web/vendor/vendor.json
	$(BIN)/python scripts/vendor.py

docs: $(VENV)/.ready ## write the documents' parts that come from the code
	$(BIN)/python scripts/gen_docs.py

clean: ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-3.* $(ENGINE) $(DEMO) build dist .coverage *.egg-info
