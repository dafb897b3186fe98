.PHONY: hooks run-hooks

hooks: $(BIN)/pre-commit ## check each commit and push from now on
	$(BIN)/pre-commit install

run-hooks: $(BIN)/pre-commit ## check all files that git knows
	$(BIN)/pre-commit run --all-files

$(BIN)/pre-commit: requirements-hooks.lock $(BIN)/train
	$(BIN)/python -m pip install --quiet -r requirements-hooks.lock
	@touch $@
