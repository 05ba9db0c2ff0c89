# make demo | make test: each does all the set-up it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak fuzz check docs pictures install clean

demo: install
	$(BIN)/spnas-orch start examples/digits/sp_nas.yml --no-tui

# A file's tests share what they set up, so a file stays in one process. Many wait more than they work: three for two cores.
# In the order of their names, for files of few but long tests would come last, and the cores wait for them.
test: check
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Many more seeds of the simulation (make soak SEEDS=20000), and the real search under twenty kills.
SEEDS ?= 5000
soak: install
	SPNAS_SOAK_SEEDS=$(SEEDS) $(BIN)/pytest tests/simulation
	$(BIN)/pytest -m soak

# Each parser is fed by a coverage-guided fuzzer for so long: make fuzz SECONDS=600
SECONDS ?= 60
fuzz: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/atheris_parsers.py $(SECONDS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Documents that are made from the code; a test compares them.
docs: install
	$(BIN)/python -m orchestrator.live.reference docs

# Pictures of the terminal UI, of the demo's run or another (make pictures RUN=runs/mine).
RUN ?= runs/sp_nas-1
pictures: install
	$(BIN)/python -m orchestrator.pictures $(RUN) docs/pictures

install: $(VENV)/.installed

# mmcv asks for opencv-python, which needs the system's libGL; the headless build, which lies in the same folder, does not.
define pip_install
	$(BIN)/pip install -q --disable-pip-version-check -e '.[$(1)]'
	$(BIN)/pip uninstall -q -y opencv-python
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall 'opencv-python-headless<4.13'
	touch $@
endef

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(call pip_install,dev)

$(VENV)/.fuzz: $(VENV)/.installed
	$(call pip_install,fuzz)

clean:
	rm -rf $(VENV) runs fuzz-found examples/*/data examples/*/runs
