# make demo | make test: each does all the set-up it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak check install clean

demo: install
	$(BIN)/spnas-orch start examples/digits/sp_nas.yml --no-tui

test: check
	$(BIN)/pytest

# Many more seeds of the simulation (make soak SEEDS=20000), and the real search under twenty kills.
SEEDS ?= 5000
soak: install
	SPNAS_SOAK_SEEDS=$(SEEDS) $(BIN)/pytest tests/simulation
	$(BIN)/pytest -m soak

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

# mmcv asks for opencv-python, which needs the system's libGL; the headless build, which lies in the same folder, does not.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	$(BIN)/pip uninstall -q -y opencv-python
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall 'opencv-python-headless<4.13'
	touch $@

clean:
	rm -rf $(VENV) runs examples/*/data examples/*/runs
