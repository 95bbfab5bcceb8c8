# Everything runs in .venv, which the targets make when it is missing. Plain `make` lists the targets.

PYTHON ?= python3
VENV := .venv
TESTBED := $(VENV)/bin/testbed
ARGS ?=

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt-get install python3-venv"; exit 2; }

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "installing the testbed into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing the testbed and its tests' tools into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run

scenario: $(VENV)/.run ## run one scenario: make scenario NAME=hola
	@test -n "$(NAME)" || { echo "which one? make scenario NAME=hola"; $(TESTBED) list; exit 2; }
	@$(TESTBED) run $(NAME) $(ARGS)

scenarios: $(VENV)/.run ## run all scenarios
	@$(TESTBED) run --all $(ARGS)

test: $(VENV)/.dev ## run all tests; those in a lab need a Docker engine, or root
	@$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-vm: $(VENV)/.dev ## run the netem lane in a virtual machine (qemu); make test-vm ARGS="-k delay"
	@$(VENV)/bin/python -m tests.vm $(ARGS)

swarm-demo: $(VENV)/.dev ## two Docker engines on this machine, one scenario over both, and down again (root)
	@$(VENV)/bin/python -m tests.lab.swarm_pair demo

test-swarm: $(VENV)/.dev ## run all that is tested over two engines, with the whole catalogue (root)
	@TESTBED_SWARM=all $(VENV)/bin/python -m pytest -q tests/lab/test_swarm.py $(ARGS)

fast: $(VENV)/.dev ## run the fast tests: no Docker, no sleep
	@$(VENV)/bin/python -m pytest tests/fast $(ARGS)

check: $(VENV)/.dev ## format, lint, types, fast tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python -m pytest -q tests/fast

docs: $(VENV)/.run ## play all scenarios, and write docs/scenarios.md with their ladders
	@$(TESTBED) run --all --backend netns $(ARGS)
	@$(VENV)/bin/python -m testbed.docs results/latest

torture: $(VENV)/.dev ## kill runs, provoke every unknown, soak; make torture ARGS="--kills 200"
	@PYTHONPATH=tests/lab:tests/fast $(VENV)/bin/python tests/torture/torture.py $(ARGS)

mutants: $(VENV)/.dev ## mutate the core's modules and see whether a test notices; make mutants ARGS=testbed/tcp/sequence.py
	@$(VENV)/bin/python tests/torture/mutants.py $(ARGS)

images: $(VENV)/.run ## build the image that hosts run in, where it is missing
	@$(TESTBED) images

doctor: $(VENV)/.run ## say what this machine can do
	@$(TESTBED) doctor

clean: $(VENV)/.run ## remove what killed runs left, and the results
	@$(TESTBED) clean
	@rm -rf results

.PHONY: help docs scenario scenarios test test-vm fast check images doctor clean swarm-demo test-swarm torture mutants
