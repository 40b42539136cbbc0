# Everything a fresh machine needs: Python 3.11 and Debian (or Ubuntu).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# Debian's packages: the synthesizers and one soundfont for the tests, all soundfonts to render, and
# a browser for the tests of the page.
TEST_PACKAGES := libfluidsynth3 timgm6mb-soundfont espeak-ng
BROWSER_PACKAGES := chromium
RENDER_PACKAGES := $(TEST_PACKAGES) fluid-soundfont-gm opl3-soundfont \
  musescore-general-soundfont-small avldrums.lv2-soundfont klettres-data
TWO_AT_ONCE := -n 2 --dist loadfile
APT := DEBIAN_FRONTEND=noninteractive $(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get

.PHONY: demo test check docs bench benchmark render clean
.DEFAULT_GOAL := test

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=24'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: $(STAMPS)/venv pyproject.toml
	$(BIN)/pip install --quiet --editable '.[map]'
	@touch $@

$(STAMPS)/test: $(STAMPS)/venv pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

# Index a collection of real music and ask it for what sounds alike, part by part.
demo: $(STAMPS)/demo
	$(BIN)/stemwise demo demo/music --output build/demo --query "d e2m5"

# The whole test suite, on the CPU.
test: $(STAMPS)/test system-test
	$(BIN)/python -m pytest $(TWO_AT_ONCE)

# The gate: format, lint, types, tests.
check: $(STAMPS)/test system-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(TWO_AT_ONCE)

# What is made from the code and the shipped models' reports.
docs: $(STAMPS)/test
	$(BIN)/typer stemwise.cli utils docs --name stemwise --output docs/cli.md
	$(BIN)/cog -r -P -I scripts README.md docs/model-card.md

# What needs nothing but this machine; hubs.py wants a corpus, real_guitars.py and real_voices.py
# recordings.
bench: $(STAMPS)/test
	for file in $(filter-out %/hubs.py %/real_guitars.py %/real_voices.py, $(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

# The paper's methods and ours, trained and scored on the band corpus: hours; stop and go on at will.
benchmark: render
	$(BIN)/python benchmarks/open/run.py

# What `stemwise data band` and `stemwise data songbook` need: the synthesizers, all soundfonts and voices (about 400 MB).
render: $(STAMPS)/test system-render

.PHONY: system-test system-render
system-test: PACKAGES = $(TEST_PACKAGES) $(BROWSER_PACKAGES)
system-render: PACKAGES = $(RENDER_PACKAGES)
system-test system-render:
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || { \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $(PACKAGES); }

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache .hypothesis
