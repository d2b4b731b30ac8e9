# Everything starts from here: `make demo`, `make test`, `make lint`, `make docs`.
# Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Compiling all packages takes longer than installing them, so what is imported is compiled when it
# is imported, and kept: the variable, which some machines set, would prevent that.
export PYTHONDONTWRITEBYTECODE :=
QUICK_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: setup demo demo-full test test-browser test-lance test-ray test-newest test-oldest docs dist smoke lint format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(QUICK_INSTALL) -c constraints.txt torch==2.13.0
	$(BIN)/python $(QUICK_INSTALL) -c constraints.txt -e '.[dev,docs]'
	touch $(STAMP)

demo: setup
	$(BIN)/python -m experiments.demo --out demo

demo-full: setup
	$(BIN)/python -m experiments.demo --out demo-full --full

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The page in Debian's Chromium (or the one of $CHROMIUM); skipped, with a reason, where there is none.
test-browser: setup
	$(BIN)/python $(QUICK_INSTALL) -c constraints.txt -e '.[dev,browser]'
	$(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/browser

# The main job on a tiny library, with the newest and with the oldest versions that pyproject.toml
# allows, each in its own environment. torch is the CPU build of the only version that was tested.
NEWEST_PYTHON ?= python3.13
OLDEST_PYTHON ?= python3.11
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

test-newest:
	$(NEWEST_PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python $(PIP_INSTALL) torch==2.13.0
	.venv-newest/bin/python $(PIP_INSTALL) --upgrade --upgrade-strategy eager torch==2.13.0 -e .
	.venv-newest/bin/python -m tests.main_job

test-oldest:
	$(OLDEST_PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python $(PIP_INSTALL) torch==2.13.0
	.venv-oldest/bin/python $(PIP_INSTALL) -c constraints-oldest.txt -e .
	.venv-oldest/bin/python -m tests.main_job

# The copy of an index in LanceDB, and Parquet: 350 MB of packages that CI does not install.
test-lance: setup
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[lance,parquet]'
	$(BIN)/python -m pytest tests/search/test_lance.py

# The engine of many machines on Ray clusters of this one: 240 MB of packages that CI does not install.
test-ray: setup
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[ray]'
	$(BIN)/python -m pytest tests/engines

# The documentation site, without a network: site/index.html. Its search needs a server, such as
# `python -m http.server --directory site`. With --quiet, mkdocs would not count warnings.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The wheel and the source distribution, from what is committed.
dist: setup
	rm -rf build/clone dist
	git clone --quiet . build/clone
	$(BIN)/python -m build --quiet --outdir dist build/clone
	$(BIN)/python -m tests.check_distributions dist

# The main job with the wheel, in an empty environment outside the repository.
smoke: dist
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; unset PYTHONPATH; \
	$(PYTHON) -m venv "$$folder/venv"; \
	"$$folder/venv/bin/python" $(PIP_INSTALL) -c constraints.txt torch==2.13.0; \
	"$$folder/venv/bin/python" $(PIP_INSTALL) -c constraints.txt dist/*.whl; \
	"$$folder/venv/bin/python" -m tests.main_job --installed

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site
