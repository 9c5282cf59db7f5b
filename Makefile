# Every target sets up what it needs: system packages, .venv, the compiled core. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

native := CMakeLists.txt $(shell find cpp -name '*.cpp' -o -name '*.hpp' -o -name CMakeLists.txt)
formatted := $(filter %.cpp %.hpp,$(native))
say = @echo "== $(1)"

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# --- set-up -----------------------------------------------------------------------------------------------------------

.PHONY: setup build
setup: .venv/.setup ## make .venv with all tools (system packages are installed when root, else named)

build: .venv/.build ## compile the core and install the package, editable, into .venv

.venv/.setup: pyproject.toml constraints.txt .ci/setup.sh
	@bash .ci/setup.sh
	@touch $@

.venv/.build: .venv/.setup $(native)
	$(call say,building the core and installing the package into .venv)
	@python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[all]'
	@touch $@

# --- tests ------------------------------------------------------------------------------------------------------------

.PHONY: test test-cpp asan tsan regression
test: check asan ## everything that a change must pass: checks, C++ tests under sanitizers, costs, all Python tests
	$(call say,passed so far: checks and the C++ tests under ASan and UBSan; now what our parts cost beside each other)
	@python -m benchmarks.regression --within
	$(call say,now the Python tests)
	@python -m pytest

test-cpp: .venv/.setup ## C++ tests, optimized
	$(call say,building and running the C++ tests)
	@cmake --workflow --preset default

asan: .venv/.setup ## C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call say,building and running the C++ tests under ASan and UBSan)
	@cmake --workflow --preset asan

tsan: .venv/.setup ## C++ tests under ThreadSanitizer
	$(call say,building and running the C++ tests under TSan)
	@cmake --workflow --preset tsan

regression: build ## has it become slower? This build and that of BASE=<commit>, measured in turn
	$(call say,comparing the speed of this build with itself and with an earlier commit)
	@python -m benchmarks.regression $(if $(BASE),--base $(BASE))

# --- proof ------------------------------------------------------------------------------------------------------------

.PHONY: proof test-crash fuzz field
proof: build ## try every promise, count, write docs/reliability.md (minutes; SCALE=full: hours; some of it needs root)
	$(call say,proving; figures go into docs/reliability.md)
	@python -m tests.proof --scale $(or $(SCALE),proof) $(PROOF)

test-crash: build ## the kills and power cuts of the proof, as many as were promised (SCALE=proof: fewer)
	@python -m tests.proof crash --scale $(or $(SCALE),full) $(PROOF)

fuzz: build ## ten million inputs made to deceive (SCALE=proof: fewer)
	@python -m tests.proof fuzz --scale $(or $(SCALE),full) $(PROOF)

field: build ## install the other packages that the proof sets us beside, and measure that part alone
	$(call say,installing the group field: jax and orbax-checkpoint are large)
	@python -m pip install --quiet --constraint constraints.txt --group field
	@python -m tests.proof field --scale $(or $(SCALE),proof) $(PROOF)

# --- checks -----------------------------------------------------------------------------------------------------------

.PHONY: check lint format ruff mypy stubtest layers clang-format duplicates clang-tidy
check: ruff mypy stubtest layers clang-format ## the checks that take seconds (with -k: all that fail, not the first)

lint: check duplicates clang-tidy ## the checks above, the search for duplicates and clang-tidy

ruff: .venv/.setup
	$(call say,ruff)
	@ruff check --quiet .
	@ruff format --check --quiet .

mypy: build
	$(call say,mypy)
	@mypy

stubtest: build
	$(call say,stubtest: the core against its stub)
	@python -m mypy.stubtest model_checkpoint._native._core --mypy-config-file pyproject.toml \
		--allowlist .ci/stubtest-allowlist.txt --ignore-unused-allowlist

layers: build
	$(call say,lint-imports: the layers)
	@lint-imports --no-logo

clang-format: .venv/.setup
	$(call say,clang-format)
	@clang-format --dry-run -Werror $(formatted)

duplicates: .venv/.setup
	$(call say,pylint: duplicates)
	@pylint --score=no python/model_checkpoint

clang-tidy: .venv/.setup
	$(call say,clang-tidy)
	@cmake --workflow --preset tidy

format: .venv/.setup ## rewrite the sources in the project's style
	$(call say,ruff and clang-format)
	@ruff check --quiet --fix-only .
	@ruff format --quiet .
	@clang-format -i $(formatted)

# --- products ---------------------------------------------------------------------------------------------------------

.PHONY: wheel demo bench asv clean
wheel: .venv/.setup ## a manylinux wheel in wheelhouse/, tried in a fresh environment
	@bash .ci/wheel.sh

demo: build ## train, kill, resume, verify, pick the best: sweep: the whole product in minutes
	@python docs/demo/run.py

bench: build ## us, the installed peers and the ceilings of this machine, 4 GiB; more by BENCH="--size 1GiB --only save"
	@python -m benchmarks.compare $(BENCH)

asv: .venv/.setup ## the suite that follows figures from commit to commit, on HEAD or on COMMITS="... ..."
	$(call say,building and timing $(or $(COMMITS),HEAD) in an environment of their own; results: .asv/)
	@python -m pip install --quiet --constraint constraints.txt --group asv
	@asv machine --yes --config benchmarks/asv.conf.json >/dev/null
	@git rev-parse $(or $(COMMITS),HEAD) | \
		asv run --config benchmarks/asv.conf.json --interleave-rounds --skip-existing-successful HASHFILE:-

clean: ## remove what was built; .venv stays
	$(call say,removing build/ dist/ wheelhouse/ and caches)
	@rm -rf build dist wheelhouse .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find python tests benchmarks docs .ci -name __pycache__ -type d -exec rm -rf {} +
	@rm -f .venv/.build
