# Everything here needs Python 3.11 or newer and make; the rest goes into .venv (programs) and .local (data).

PYTHONS = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
IS_NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
FOUND = $(shell for one in $(PYTHONS); do "$$one" -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo "$$one" && break; done)
BASE = $(or $(FOUND),$(error Sightline needs Python 3.11 or newer and finds none. Name yours: make PYTHON=/path/to/python))

IN = .venv/bin/python
WORKERS = $(shell $(IN) -c 'import os; print(max(2, min(8, os.cpu_count() or 2)))')
COMPILE = .boot/bin/uv --system-certs pip compile -q pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help setup demo serve seed test long chaos fuzz mutants lint shape fonts bench screenshots lock

help:  ## List what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s  %s\n", $$1, $$2 }' Makefile

demo: .venv/.embedded  ## Find creators for a picture, with all of Sightline on this machine (IMAGE=path for yours)
	@$(IN) manage.py demo $(if $(IMAGE),--image "$$IMAGE")

serve: .venv/.embedded  ## Run the API, its workers and the sandbox until Ctrl-C
	@$(IN) manage.py serve

seed: .venv/.development  ## Fill the empty database of `make serve` with 1,000,000 searches of 10,000 tenants (SIZE=1000 for fewer)
	@$(IN) -m tests.seed $(SIZE)

test: lint  ## Lint, and run the tests
	$(IN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

chaos: .venv/.development  ## Attack a running system, and kill whatever can end in it (SEED=number repeats a run, ROUNDS=10 each race)
	$(IN) -m pytest -m chaos -s $(if $(SEED),--randomly-seed=$(SEED))

long: .venv/.development  ## Run the tests that walk all pages (WCAG, weight), search what a run leaves, or start the whole system
	$(IN) -m pytest -m 'long and not chaos' -n $(WORKERS) --dist loadfile --no-loadscope-reorder

fuzz: .venv/.development  ## Ask a running system what its document allows and forbids (MINUTES=10; SEED=number repeats a run)
	@$(IN) -m tests.fuzz $(or $(MINUTES),10) $(SEED)

mutants: .venv/.development  ## List the small faults in a room that no test notices (ROOM=billing, lanes or limiter; SAMPLE=number)
	$(IN) -m tests.mutants $(or $(ROOM),billing) $(SAMPLE)

lint: .venv/.development  ## Check style, types and import contracts
	$(IN) -m ruff check .
	$(IN) -m ruff format --check .
	$(IN) -m mypy .
	$(IN) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

shape: .venv/.development  ## Measure the code: lengths of functions and tests, rooms and floors of searches, circles, class names
	@$(IN) -m tests.shape

fonts: .venv/.development  ## Cut the fonts of the operators' pages to the icons and letters that they show
	@$(IN) -m tests.fonts

bench: .venv/.development  ## Measure: use of the limit, refusals, fairness, estimates, claims, throughput, delay, the API beside a bare one
	@$(IN) -m tests.bench

screenshots: .venv/.development  ## Make the pictures of the README anew, with the demo's data and chromium
	@$(IN) -m tests.screenshots

setup: .venv/.development  ## Install everything into .venv, the tools for development too

lock:  ## Pin what pyproject.toml asks for, for every platform
	@$(BASE) -m pip install -q --upgrade --target .boot uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --extra embedded --group dev -o requirements/development.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --extra embedded -c requirements/development.txt \
		-o requirements/embedded.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) -c requirements/development.txt -o requirements/production.txt

# A stamp that is older than its lock is made again. The path file lets programs such as `.venv/bin/pytest` find the project.
define INSTALL
@echo "Setting up .venv: $$(grep -c == $<) packages are fetched and installed, in half a minute or more."
@if $(IN) -c 'import pip' 2>/dev/null; then pip="$(IN) -m pip"; else pip="$(BASE) -m pip --python $(IN)"; fi; \
	PIP_USER=0 $$pip install -q --no-input --disable-pip-version-check --require-hashes -r $< & pid=$$!; \
	trap "kill $$pid; echo; echo 'Stopped; the next make does it again.'; exit 130" INT TERM; \
	while kill -0 $$pid 2>/dev/null; do printf .; sleep 1; done; echo; wait $$pid
@pwd > "$$($(IN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sightline.pth"
endef

.venv/.embedded: requirements/embedded.txt $(IN)
	$(INSTALL)
	@touch $@

.venv/.development: requirements/development.txt $(IN)
	$(INSTALL)
	@touch .venv/.embedded $@

# Debian without python3-venv cannot put pip into .venv; then the system's pip installs into it.
$(IN):
	@{ $(BASE) -m venv --clear .venv || { $(BASE) -m pip --version && $(BASE) -m venv --clear --without-pip .venv; } \
		|| { rm -rf .venv; false; }; } >/dev/null 2>&1 \
		|| { echo "Python cannot make .venv here. On Debian or Ubuntu, install python3-venv." >&2; exit 1; }
