PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint bench lock pins schemas docs reference clean

run:            ## set up, then run the demo flow over its question set
	@$(PYTHON) scripts/bootstrap.py run
	@$(BIN)/python -m llmops_flows flow=rag_support

test: lint      ## set up, then lint and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint:
	@$(PYTHON) scripts/bootstrap.py dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

bench:          ## measure against what a user would otherwise do
	@$(PYTHON) scripts/bootstrap.py dev
	$(BIN)/python -m benchmarks

docs:           ## build the documentation site into site/
	@$(PYTHON) scripts/bootstrap.py docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lock:           ## write the pinned requirements
	$(PYTHON) scripts/lock.py

pins:           ## pin the components' code to their versions (tests/pins.json)
	@$(BIN)/python scripts/pins.py

schemas:        ## write the JSON Schemas of the option files
	@$(BIN)/python -m scripts.schemas

reference:      ## write docs/reference/commands.md from the help of every command
	@$(BIN)/python -m scripts.command_reference

clean:
	rm -rf .venv outputs multirun site
