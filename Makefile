# Set-up, tests and checks. `make help` says what there is; nothing outside this folder is written but the weights of
# metrics, once, into the user's cache (`regrow weights list` says where).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two set-ups at once would write the same .venv; with -j the targets still follow one another.
.NOTPARALLEL:
.PHONY: help demo test check train-check bench bench-gpu clean

PYTHON_VERSIONS := 3.13 3.12 3.11
# `make demo PYTHON=/path/to/python3.12` chooses one; otherwise the first that runs and is in range is taken.
PYTHON ?= $(PYTHON_VERSIONS:%=python%) python3 /usr/bin/python3

# Stamps: newer than what they were installed from, so a second run sets up nothing and needs no network.
DEMO := .venv/.installed-demo
FULL := .venv/.installed-full
PINS := pyproject.toml constraints.txt

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: $(DEMO) ## archive six photographs, regrow them and write a page
	@.venv/bin/python -m jobs.demo

test: $(FULL) ## run the tests
	@.venv/bin/python -m pytest

check: $(FULL) ## check format, lint, types and import contracts
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/pyright
	@.venv/bin/lint-imports

train-check: $(FULL) ## train each stage on small networks for a minute, and see its loss fall
	@OMP_NUM_THREADS=1 .venv/bin/python -m bench.training_check

bench: $(FULL) ## measure throughput, memory, resuming, looking up, scale, judging, learned codecs, seams
	@.venv/bin/python -m bench

bench-gpu: $(FULL) ## measure learned codecs on a GPU
	@.venv/bin/python -m bench codecs-gpu

clean: ## remove what the tools and the demo left here (.venv stays)
	@rm -rf demo build dist *.egg-info .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

$(DEMO): $(PINS)
	@$(make_venv)
	@echo "Installing regrow with torch for the demo into .venv (once, some minutes) ..."
	@$(call install,ray$(,)nano)
	@.venv/bin/regrow weights pull lpips-alex --quiet
	@touch $@

$(FULL): $(PINS)
	@$(make_venv)
	@echo "Installing regrow with torch and the tools of developers into .venv (once, some minutes) ..."
	@$(call install,ray$(,)codecs$(,)train$(,)formats$(,)dev)
	@.venv/bin/regrow weights pull --quiet
	@touch $(DEMO) $@

, := ,
install = .venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(1)]'

# A candidate is tried by running it: a version manager's shim may exist and yet fail. The .venv that is here is kept
# when its Python still runs, is in range and has pip; one left half made by an interruption is made again.
define make_venv
in_range() { case " $(PYTHON_VERSIONS) " in *" $$1 "*) ;; *) return 1 ;; esac; }; \
version() { "$$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }; \
if in_range "$$(version .venv/bin/python)" && .venv/bin/python -c 'import pip' 2>/dev/null; then exit 0; fi; \
found=; \
for python in $(PYTHON); do \
    version=$$(version "$$python") || continue; \
    if ! in_range "$$version"; then found="$$found $$python is $$version;"; continue; fi; \
    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
        found="$$found $$python lacks the venv module (Debian, Ubuntu: apt install python$$version-venv);"; continue; fi; \
    "$$python" -m venv --clear .venv && exit 0; \
done; \
echo "regrow needs Python 3.11, 3.12 or 3.13; found:$${found:- none that runs of $(PYTHON);}" \
    "name one with: make PYTHON=/path/to/python3.12" >&2; exit 1
endef
