# make install | run | test | check   (needs Python 3.11, git, make; nothing else)

PYTHON ?= python3.11
VENV ?= .venv
EXTRAS ?= development
python := $(VENV)/bin/python
comma := ,
stamp := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
# PyTorch first and alone: a range in a later command then takes it as it is, and no other build in its place.
torch := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
setuptools := $(shell sed -n 's/^setuptools==/setuptools==/p' constraints.txt)

.PHONY: install run test lint types check clean

install: $(stamp)

$(stamp): pyproject.toml constraints.txt
	test -x $(python) || $(PYTHON) -m venv $(VENV)
	$(python) -m pip install --quiet --constraint constraints.txt $(torch) $(setuptools)
	$(python) -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	touch $@

run: install
	$(python) -m qsft_robot.train sim=pick_place

# Two test processes on two cores, each with one thread for its matrix products.
test: install
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(python) -m pytest -n 2 --dist loadfile $(PYTEST_FLAGS)

lint: install
	$(python) -m ruff check .

# mypy reads files where they lie, and the packages lie elsewhere than they are imported from: check a copy as installed.
types: install
	rm -rf build
	$(python) -m pip install --quiet --no-deps --no-build-isolation --target build/typed .
	cd build/typed && $(abspath $(python)) -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p qsft_robot

check: lint types test

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
