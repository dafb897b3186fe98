.PHONY: serve

serve: setup ## serve the latest model on http://127.0.0.1:8000; more: make serve ARGS="--serve.port 9000"
	$(BIN)/{{ cookiecutter.package_name | replace("_", "-") }} serve $(ARGS)
