# Everything runs in .venv, which these targets make by themselves. Stamp files in it make later runs quick.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3)
PORT ?= 8000
HOST ?= 127.0.0.1
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
UNSPOKEN := $(addprefix --ignore ,$(VENV) var tests trainer benchmarks migrations static)
# Which build of torch is right depends on the machine, and so do the libraries of its CUDA: no lock has them.
UNLOCKED := torch triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc \
  cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  --python-version 3.11 $(addprefix --no-emit-package ,$(UNLOCKED)) pyproject.toml
# Tests share the cores; each of them does with one thread.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
TOGETHER := --numprocesses logical --maxprocesses 4
IN_BROWSER := $(PYTEST) $(TOGETHER) -m "not services" tests/browser
BENCHMARKS := $(filter-out benchmarks/_%,$(sort $(wildcard benchmarks/*.py)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install install-web install-dev run test test-learning test-services test-browser lint bench messages locks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.core $(VENV)/.ml ## make .venv with what the site and its trainer need

install-web: $(VENV)/.core ## make .venv with what the site needs, without the trainer (no torch)

install-dev: $(VENV)/.dev

run: install ## run the site: http://127.0.0.1:8000/ (make run PORT=8001 for another port); Ctrl-C stops it
	@exec $(PY) manage.py up --host $(HOST) --port $(PORT)

test: install-dev ## run the tests; pages in a real browser too when Chromium is installed
	$(PYTEST) $(TOGETHER) -m "not services and not browser and not learning"
	$(if $(CHROMIUM),$(IN_BROWSER),@echo "Chromium is not installed: the browser tests were left out.")

test-learning: install-dev ## run the tests that train models until they have learned something (some minutes)
	$(PYTEST) $(TOGETHER) -m learning

test-services: install-dev ## run the tests that start and kill real servers (some minutes)
	$(PYTEST) $(TOGETHER) --dist worksteal -m "services and not browser"
	$(if $(CHROMIUM),$(PYTEST) $(TOGETHER) -m services tests/browser,@echo "Chromium is not installed: the ring was not turned in a browser.")

test-browser: install-dev ## run the tests of pages in Chromium
	$(IN_BROWSER)

lint: install-dev ## check style, types, templates and migrations
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy labelapp trainer
	$(PY) -m djlint --lint templates
	$(PY) manage.py makemigrations --check --dry-run --settings tests.ops.no_database

bench: install-dev ## run each benchmark in its quick form, two at a time: their figures mean nothing then
	@printf '%s\n' $(BENCHMARKS) | xargs -P 2 -I{} sh -c 'said=$$(OMP_NUM_THREADS=1 $(PY) {} --quick 2>&1); status=$$?; \
	  printf "== %s\n%s\n" {} "$$said"; exit $$status'

messages: install-dev ## gather what pages say into the catalogs of translators, and compile them (needs gettext)
	@command -v xgettext >/dev/null || { echo "This needs gettext. Debian, Ubuntu: apt-get install gettext" >&2; exit 1; }
	$(PY) manage.py makemessages --locale zh_Hans --no-wrap --add-location file $(UNSPOKEN)
	$(PY) manage.py compilemessages --locale zh_Hans $(UNSPOKEN)

locks: $(VENV)/.made ## make the lock files again from pyproject.toml; versions that still fit stay
	$(PIP) uv
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra ml --output-file requirements-ml.lock
	$(LOCK) --extra ml --extra dev --output-file requirements-dev.lock

clean: ## remove .venv, caches and test data; what people entered (var/) stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info var/test var/static
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@found=; for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found="$$candidate"; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "Prefloop needs Python 3.11 or 3.12, and there is none by the name of: $(PYTHONS)." >&2; \
	  echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name yours:" >&2; \
	  echo "  make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	$(PY) -m pip --version >/dev/null 2>&1 || { \
	  echo "Making $(VENV) with $$("$$found" --version) …"; \
	  "$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); \
	    echo "This Python cannot make environments. Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }; }
	@touch $@

$(VENV)/.core: requirements.lock | $(VENV)/.made
	@echo "Installing the packages of requirements.lock (the first time takes about half a minute) …"
	@$(PIP) --require-hashes -r requirements.lock
	@touch $@

# Torch stands in no lock file: which build is right depends on the machine. Its version is fixed. It comes first: what
# needs it then finds it there, and pip, which asks for hashes of all it fetches, does not look for another.
$(VENV)/.ml: requirements-ml.lock pyproject.toml | $(VENV)/.made
	@echo "Installing the trainer's packages: requirements-ml.lock and $(TORCH) …"
	@$(PIP) $(TORCH)
	@$(PIP) --require-hashes -r requirements-ml.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements-ml.lock requirements.lock pyproject.toml | $(VENV)/.made
	@echo "Installing the packages of requirements-dev.lock and $(TORCH) …"
	@$(PIP) $(TORCH)
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.core $(VENV)/.ml
