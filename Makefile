# `make help` prints the targets. Each one sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help run test test-all fuzz check format train bench docs dist image lock upgrade system clean

PYTHON ?= $(shell command -v python3.11 || echo python3)
PORT ?= 8000
# What builds an image, for instance `buildah build --format docker`, and what else it is told.
BUILDER ?= docker build
IMAGE_ARGUMENTS ?=
GIT_SHA ?= $(shell git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null)
# Many tests wait, so that three keep two cores busy.
TEST_PROCESSES ?= 3
FUZZ_MINUTES ?= 30
PYTEST_OPTIONS := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
VENV := .venv
# Phrases that plain English does without.
AVOIDED := is told|told as|whoever|whatever|anew|in silence|of one.s own|for people
BIN := $(VENV)/bin
# The package itself is installed as well, for the command slipway.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" pyproject.toml

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run ## serve the model on http://127.0.0.1:8000 (PORT=... for another port)
	@command=$$(sed -n 's/^web: //p' Procfile); \
	export PATH="$(abspath $(BIN)):$$PATH" PORT="$(PORT)"; \
	echo "Slipway: http://127.0.0.1:$$PORT  (document: http://127.0.0.1:$$PORT/apidocs/)"; \
	eval exec "$$command"

test: $(VENV)/dev ## run the quick tests
	$(BIN)/python -m pytest $(PYTEST_OPTIONS) -m "not slow and not browser and not image and not proxy"

test-all: $(VENV)/dev ## run all tests, as CI does (make system installs what they need)
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

fuzz: $(VENV)/dev ## run the property tests with new examples (FUZZ_MINUTES=30)
	$(BIN)/python tests/fuzz.py $(FUZZ_MINUTES) $(PYTEST_OPTIONS)

check: $(VENV)/dev ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	! grep -rnE "\b($(AVOIDED))\b" --include=*.md --include=*.py --include=*.html slipway tests docs README.md \
		CONTRIBUTING.md CHANGELOG.md benchmarks deploy

format: $(VENV)/dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/train ## train the model again: writes model.pkl and model.json
	$(BIN)/flask train

bench: $(VENV)/dev ## measure the service beside its rivals (needs wrk: make system)
	$(BIN)/python -m benchmarks

docs: $(VENV)/dev ## build the documentation site into build/docs/site
	$(BIN)/python docs/build_site.py

dist: $(VENV)/dev ## build the sdist and the wheel of slipway-ml in dist/
	$(BIN)/uv build --quiet --out-dir dist

image: ## build the container image slipway (docs/image.md)
	$(BUILDER) --build-arg GIT_SHA=$(GIT_SHA) $(IMAGE_ARGUMENTS) --tag slipway .

lock: $(VENV)/dev ## pin the requirements again, without upgrades
	$(LOCK) --extra train --output-file requirements-train.txt
	$(LOCK) --constraint requirements-train.txt --output-file requirements.txt
	$(LOCK) --constraint requirements-train.txt --extra train --extra spark --extra dev --extra bench \
		--extra docs --output-file requirements-dev.txt
	grep -oE '^[A-Za-z0-9._-]+==[^ ]+( ; [^\\]*[^\\ ])?' requirements.txt >slipway/cli/web_pins.txt

upgrade: LOCK += --upgrade
upgrade: lock ## pin the newest versions

system: ## install what needs a system package: Chromium, buildah and servers for tests, wrk for bench
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends \
		buildah chromium curl debootstrap mariadb-server nginx-light wrk

clean: ## remove the virtual environment and the caches
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The stamps below are newer than the pins they were installed from.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements.txt | $(BIN)/python
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --editable .
	touch $@

$(VENV)/train: requirements-train.txt | $(BIN)/python
	@echo "installing what training needs, 0.7 GB; this takes about a minute"
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --editable .
	touch $@ $(VENV)/run

$(VENV)/dev: requirements-dev.txt | $(BIN)/python
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --editable .
	touch $@ $(VENV)/run $(VENV)/train
