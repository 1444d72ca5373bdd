# `make book` builds the book, `make test` checks everything. The same steps as plain commands: README.md.
PYTHON ?= python3
BIN := .venv/bin

# Two processes share the machine; OpenMP threads that wait for each other would take it all.
export OMP_NUM_THREADS := 1

.PHONY: book test lint fresh check clean

book: .venv/installed
	$(BIN)/python book/build.py

# Everything runs even if something fails; the last lines say what did.
test: .venv/installed
	@$(MAKE) --no-print-directory --keep-going lint fresh book check

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# exercises/ and the generated cells are what solutions/ and _config.yml say.
fresh: .venv/installed
	$(BIN)/python -m course_lib release --check

# The tests, and the solutions' notebooks against their stored outputs.
check: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax --nbval-cell-timeout 120 -rs tests solutions

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, and $(PYTHON) is {sys.version.split()[0]}: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@echo "Installing the requirements into .venv: a minute or two ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet -r requirements.txt -e '.[test]'
	@git config diff.jupytext.textconv '$(BIN)/jupytext --quiet --to md:myst --output -' 2>/dev/null || true
	@touch $@

clean:
	rm -rf _build book/generated
