PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable
# The demo needs pidlab alone; tests, documentation and checks need the rest. One environment, filled in two steps.
DEMO = $(VENV)/.installed-demo
TEST = $(VENV)/.installed-test
# Where the environment keeps Python from storing compiled modules, each process that a test starts would compile
# hundreds of them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check test coverage lowest lint docs hooks package clean

# The sample, the comparison, the table of results, and where the report is.
demo: $(DEMO)
	mkdir -p runs
	$(BIN)/pidlab simulate shms --events 200000 -o runs/shms_demo.root
	$(BIN)/pidlab run data/shms.yaml --set data.files=../runs/shms_demo.root --force

# What one runs before every commit: style, types and the fast tests, in less than two minutes on two cores.
check: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

# Everything that must hold: the checks and all tests, in one go, so that what the fast and the slow tests of a file share
# is made once. tests/conftest.py says in which order the files are run.
ALL_TESTS = $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(ALL_TESTS)

# Which share of the code all tests run; the floor is in pyproject.toml. Not a part of `test`, since tracing every line
# takes a fifth of its time.
coverage: $(TEST)
	$(ALL_TESTS) --cov

# The fast tests with the lowest versions that pyproject.toml allows, in an environment of their own. Warnings of old
# libraries about each other are not ours to mend. LOWEST: what uv needs besides; PyPI's torch would bring CUDA along.
LOWEST ?= --torch-backend cpu
UV = $(VENV)-lowest/bin/uv pip
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install --quiet uv
	$(UV) install --quiet --python $(VENV)-lowest --resolution lowest-direct $(LOWEST) --editable .
	$(UV) freeze --quiet --python $(VENV)-lowest --exclude-editable > $(VENV)-lowest/core.txt
	$(UV) install --quiet --python $(VENV)-lowest --constraint $(VENV)-lowest/core.txt $(LOWEST) \
	  --editable '.[correctionlib,fits,onnx,parquet,sql,tune]' \
	  hypothesis ipykernel lightgbm nbclient pandas pytest pytest-mpl pytest-xdist
	$(VENV)-lowest/bin/pytest -n 2 --dist loadfile -m "not slow" -W default

lint: $(TEST)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation, into site/; a warning is an error. NO_MKDOCS_2_WARNING silences an advertisement of the theme.
docs: $(TEST)
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Runs ruff and mypy of this environment at every commit from now on.
hooks: $(TEST)
	$(INSTALL) '.[hooks]'
	$(BIN)/pre-commit install

# The sdist and the wheel, into dist/, and the wheel tried in an environment that holds nothing else.
package: $(DEMO)
	$(INSTALL) '.[release]'
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	bash .ci/try_wheel $(PYTHON) dist/*.whl

$(DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(INSTALL) .
	touch $@

$(TEST): $(DEMO)
	$(INSTALL) '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest runs site build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
