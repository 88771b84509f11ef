# make demo   fit the tantalum example on two ranks and run MD with the result
# make test   style, types and all tests; `make lint`, `make types` and `make tests` are its parts
# make alone  the tests that use outside data or stand in for them, as in a clone with nothing beside it
# make test-gpu   the tests that need a GPU; PYTEST="python -m pytest" runs them in the active environment
# make bench-gpu  times on the GPU beside mace-torch and a CPU core; PYTHON of that environment
# make coverage  all tests, and how much of the package they run
# make sdist  a source distribution in dist/
# make format sort imports and format
# make docs   write docs/input.md and input_templates/ again, from the schema of the settings
# make docs-html  build the documentation site in docs/_build/html; warnings are errors
# make pictures   fit the tantalum example and draw the pictures of README and site again
# make clean  remove .venv and all that was made here
# All set up what they need in .venv; nothing outside this folder is touched.

PYTHON ?= python3
RANKS ?= 2
# Tests run at the same time. Each file is run by one of them, since its tests share fits; many start ranks of their own.
# tests/conftest.py sorts the files, slow ones first, so that the workers end together.
WORKERS ?= 2
PARALLEL = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
EXAMPLE := examples/Ta_BPNN
FIT := $(EXAMPLE)/Ta_fit
comma := ,

# The ranks are the parallelism: threads of each would only fight over the same cores.
export OMP_NUM_THREADS = 1

# Containers often set this. The tests start hundreds of processes, and without bytecode on disk each of them would
# compile torch again: 5 s instead of 1.5 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint types tests alone test-gpu bench-gpu coverage sdist format docs docs-html pictures clean

help:
	@sed -n '/^# make/s/^# //p' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp file for each set of extras: pip runs again only when the requirements or the plugin have changed. Python
# compiles the modules that it imports; pip would compile all of them, on one core.
$(VENV)/.installed-%: setup.py pyproject.toml $(wildcard lammps_plugin/* lammps_plugin/*/*) | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check --quiet --no-compile --editable '.[$(subst +,$(comma),$*)]'
	touch $@

demo: $(VENV)/.installed-plots
	cd $(EXAMPLE) && $(BIN)/mpirun -np $(RANKS) $(BIN)/python -m fitsnap_nn Ta.in --overwrite
	cd $(FIT) && $(BIN)/mpirun -np $(RANKS) $(BIN)/lmp -in in.md
	@echo && echo "$(FIT):" && ls -C $(FIT)

test: lint types tests

lint: $(VENV)/.installed-all+dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-all+dev
	$(BIN)/mypy

tests: $(VENV)/.installed-all+dev
	$(BIN)/pytest $(PARALLEL) $(TESTS)

# What is out of reach must skip, and nothing may fail for it.
alone: $(VENV)/.installed-all+dev
	FITSNAP_NN_SHARED= $(BIN)/pytest $(PARALLEL) -m "shared or sample"

# A machine without network has no .venv: tests/gpu/bundle.py sets one up. A new torch may warn of what is of no concern.
test-gpu: $(if $(PYTEST),,$(VENV)/.installed-all+dev)
	$(or $(PYTEST),$(BIN)/pytest) -m gpu -rs -W default --numprocesses 4 --dist loadgroup tests/gpu tests/training/test_least_squares.py

bench-gpu:
	$(PYTHON) tests/benchmarks/bench_gpu.py

# Where Python has it (3.12 and later), sys.monitoring counts lines at little cost.
coverage: export COVERAGE_CORE = $(shell $(PYTHON) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
coverage: $(VENV)/.installed-all+dev
	$(BIN)/pytest --cov --cov-report=term $(TESTS)

sdist: $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check --quiet build
	$(BIN)/python -m build --sdist

format: $(VENV)/.installed-all+dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-all+dev
	$(BIN)/python -m fitsnap_nn.settings.generate

docs-html: $(VENV)/.installed-all+dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

pictures: $(VENV)/.installed-all+dev
	$(BIN)/python docs/pictures.py

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .coverage* $(FIT) .mypy_cache .ruff_cache .pytest_cache
	find fitsnap_nn tests examples -name __pycache__ -prune -exec rm -rf {} +
