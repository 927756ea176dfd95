# Every target says what it does in `make help`. PYTHON picks the interpreter the environment is made with.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin
# Tests wait as much as they work.
WORKERS ?= $(shell expr $$(nproc) \* 2)
# Without bytecode files each process of pytest would compile all tests again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-all tools check format lock docs bench torture clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/run  ## make .venv with what the site needs, from the hash-pinned lock

setup-dev: .venv/dev  ## make .venv with what development needs too

run: setup  ## migrate and serve the chat on http://127.0.0.1:8000 [HOST=... PORT=...]
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py collectstatic --noinput --verbosity 0
	@exec $(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

test: setup-dev tools  ## run all tests: Python, JavaScript, real servers, a real browser; on SQLite, and on PostgreSQL and Redis
	@cd tests/js && node --test
	@$(PYTEST) -m pytest -n $(WORKERS) --dist worksteal
	@$(PYTEST) tests/support/on_services.py -n $(WORKERS) --dist worksteal

test-all:  ## run the same at size, and what takes minutes by nature
	@THOROUGH=1 $(MAKE) --no-print-directory test

tools:  ## install what the tests need from the system and from npm
	@tests/install-tools
	@cd tests/js && { [ -d node_modules ] || npm ci --no-audit --no-fund --loglevel=error; }

check: setup-dev  ## formatting, lint, plain English, types, import contracts, migrations, deployment checks, docs in step
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/python tests/support/plain_english.py
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo > .venv/contracts 2>&1 || { cat .venv/contracts; exit 1; }
	@$(BIN)/python manage.py makemigrations --check --dry-run --verbosity 0
	@HTTPS=1 CHAT_PROXIES=127.0.0.1 $(BIN)/python manage.py check --deploy --fail-level WARNING
	@$(BIN)/python manage.py chat_protocol --check

format: setup-dev  ## format the code and mend what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: setup-dev  ## write the generated parts of docs/ again from chat/protocol/ and chat/conf.py
	@$(BIN)/python manage.py chat_protocol

bench:  ## measure the site beside its peers, five times: two hours; bench/run --quick takes half an hour
	@bench/run

torture: setup-dev  ## kill, cut and lock a real server for minutes, and look for losses [TORTURE_ROUNDS=20 ...]
	@PYTHONPATH=tests:tests/support $(BIN)/python -m torture

lock: setup-dev  ## resolve the dependencies of pyproject.toml again into the three lock files
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) -o requirements.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) --group dev --all-extras -c requirements.txt \
		-o requirements-dev.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) --all-extras -c requirements-dev.txt \
		-o requirements-production.txt pyproject.toml

LOCK := --universal --generate-hashes --python-version 3.11 --no-header --no-annotate

clean:  ## remove the environment and everything generated; the database in .local stays
	rm -rf .venv staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/js/node_modules \
		bench/.venv bench/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps .venv/run and .venv/dev say from which lock the environment was made.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: set PYTHON=... (this is $$($(PYTHON) --version))" >&2; exit 1; }
	@$(PYTHON) -m venv .venv 2>/dev/null || { tests/install-tools venv && $(PYTHON) -m venv --clear .venv; }

.venv/run: requirements.txt | .venv/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt | .venv/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ .venv/run
