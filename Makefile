# The few commands people type. Each one sets up .venv first, which takes no time once it is there.
.DEFAULT_GOAL := help
.PHONY: help setup demo serve deploy repro test acceptance lint audit bench clean clean-all

PYTHON ?= python3
BIN := .venv/bin
# The environment's own Python starts five times faster than a pyenv or conda shim.
BOOTSTRAP := $(if $(wildcard $(BIN)/python),$(BIN)/python -S,$(PYTHON)) infra/bootstrap.py

# No tool phones home. flows/__init__.py and .dvc/config say the same for who does not use make.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := true

help:
	@echo "make demo    the whole pipeline on params.yaml, ends with the result table; its steps are"
	@echo "             $$($(PYTHON) -S -m components.steps)"
	@echo "             (ARGS='--set task=…' changes settings)"
	@echo "make serve   Prefect, MLflow and workers on this machine, with their user interfaces; Ctrl-C"
	@echo "             stops them (ARGS='--database postgresql' for more than a few workers)"
	@echo "make deploy  the deployments of prefect.yaml on a server elsewhere (PREFECT_API_URL)"
	@echo "make repro   the same pipeline as DVC stages (dvc repro)"
	@echo "make test    every feature, in minutes  (ARGS='tests/lode -k solver' chooses)"
	@echo "make acceptance  what needs PostgreSQL, Chromium, Dask, Kubernetes' schemas, or long waiting"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make audit   known vulnerabilities of the locked packages (asks PyPI's advisories)"
	@echo "make bench   the measurements of tests/benchmarks/"
	@echo "make clean   remove reports and caches; histories, LODEs and registry stay"
	@echo "make setup   only the environment in .venv (PYTHON=/path/to/python3 chooses one)"

setup:
	@$(BOOTSTRAP)

demo: setup
	@$(BIN)/python -m flows $(ARGS)

serve: setup
	@$(BIN)/python infra/serve.py $(ARGS)

deploy: setup
	@$(BIN)/python -m flows.deploy $(ARGS)

repro: setup
	@$(BIN)/dvc repro $(ARGS)

# One thread per test process: two of them already fill two cores. A file's tests stay in one
# process and share its fixtures; in the order of their names, the long end_to_end comes first.
# (--dist=loadgroup does nothing with pytest 9.2 and xdist 3.8.)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

test: setup
	@$(PYTEST) -m "not acceptance" $(ARGS)

acceptance: setup
	@$(PYTEST) -m acceptance $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# --strict: without it, pip-audit calls a lock clean that it could ask nobody about.
audit: setup
	@$(BIN)/uv tool run pip-audit --strict --no-deps --disable-pip -r requirements.lock $(ARGS)

bench: setup
	@for script in tests/benchmarks/*.py; do \
		test -e "$$script" || { echo "no benchmarks in tests/benchmarks/"; exit 1; }; \
		echo "== $$script"; $(BIN)/python "$$script" $(ARGS) || exit 1; \
	done

clean:
	rm -rf reports build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find components flows lode tests infra -name __pycache__ -prune -exec rm -rf {} +
	@echo "kept: data/ (histories), models/, mlflow.db, .venv; make clean-all removes these too"

clean-all:
	@echo "This deletes $$(find data -name '*.parquet' 2>/dev/null | wc -l) histories, the LODEs, the registry and .venv."
	@test "$(SURE)" = yes || { echo "Nothing deleted. If you mean it: make clean-all SURE=yes"; exit 1; }
	@$(MAKE) --no-print-directory clean
	rm -rf data models mlflow.db mlartifacts dvc.lock .dvc/cache .dvc/tmp .lode .venv
