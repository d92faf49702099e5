# The commands people type. `make demo` and `make test` work in a fresh clone with only Python 3.11+ and pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pytest-xdist is not used: the suite starts real processes and two cores are the size we build for.

.PHONY: demo demo-proof test check lint types floors unit fuzz fuzz-nightly fuzz-properties clean help
help:            ## this list
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/.core: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(BIN)/.test: $(BIN)/.core
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(BIN)/.bench: $(BIN)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

demo: $(BIN)/.core   ## a private job on a local fleet, with one node killed on the way
	@$(BIN)/propolis demo

demo-proof: $(BIN)/.core $(BIN)/.swtpm   ## machines with emulated TPMs prove what they booted; a job goes where it may
	@$(BIN)/propolis demo-proof

test: lint types floors unit   ## everything CI runs

check: test

lint: $(BIN)/.test   ## ruff
	$(BIN)/ruff check src tests benchmarks examples fuzz
	$(BIN)/ruff format --check src tests benchmarks examples fuzz

types: $(BIN)/.test  ## mypy strict
	$(BIN)/mypy

floors: $(BIN)/.test ## import contracts
	$(BIN)/lint-imports --no-logo

$(BIN)/.swtpm: $(BIN)/.core
	@command -v swtpm >/dev/null && command -v swtpm_setup >/dev/null || { echo "installing swtpm, an emulated TPM for the tests"; \
	  (apt-get update -qq && apt-get install -y -qq swtpm swtpm-tools) >/dev/null 2>&1 || echo "swtpm is not installed: tests of a TPM skip"; }
	@touch $@

unit: $(BIN)/.test $(BIN)/.swtpm   ## the test suite
	$(BIN)/python -m pytest

FUZZ_N ?= 1000
fuzz: $(BIN)/.test   ## FUZZ_N mutations of every parser's food: what escapes untyped is saved under build/fuzz
	FUZZ_N=$(FUZZ_N) $(BIN)/python -m fuzz $(FUZZ)

fuzz-nightly: $(BIN)/.test   ## 100,000 mutations per parser, every bit of what is signed, arbitrary bytes for longer (an hour or two)
	FUZZ_N=100000 $(BIN)/python -m fuzz
	FUZZ_N=100000 $(BIN)/python -m pytest tests/evidence/test_evidence_flips.py
	$(MAKE) fuzz-properties

FUZZ_EXAMPLES ?= 3000
fuzz-properties: $(BIN)/.test   ## arbitrary bytes at every decoder of the wire and the vault, with what must hold beside typed errors
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/properties/test_fuzz.py tests/properties/test_vault_fuzz.py

bench-%: $(BIN)/.bench  ## bench-dispatch, bench-inference, bench-recovery, bench-install, bench-attestation
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks.$*

clean:
	rm -rf build .venv .pytest_cache .mypy_cache .ruff_cache
