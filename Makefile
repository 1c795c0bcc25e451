# Two commands on a fresh machine: `make ingest` and `make test`. Both set up what they need.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -c '' 2>/dev/null && echo python3.12 || echo python3.11)
DATASET ?= pigment-data
ARGS ?=
CORPUS ?= pigment-corpus
MODEL ?= pigment-model
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup ingest finetune generate corpus runners gcs-server test test-runners check soak format lock clean
help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## the virtual environment, from the lock file
$(READY): requirements.lock pyproject.toml
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip --version >/dev/null && $(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(RUN) -m uv pip install --quiet --compile-bytecode --python $(RUN) --require-hashes -r requirements.lock
	$(RUN) -m uv pip install --quiet --python $(RUN) --no-deps -e .
	@touch $@

ingest: $(READY)  ## the main job on the bundled sample, over HTTP from the small web, into pigment-data/
	@$(RUN) -m tests.web --out pigment-web -- $(RUN) -m pipelines.ingest --runner DirectRunner --dataset $(DATASET) \
		--source '{pairs}' --host_map '{host_map}' --unit_size 100 --image_timeout 10 $(ARGS)

finetune: $(READY)  ## the embedded base on the release of `make ingest`, into pigment-model/
	@$(RUN) -m training.finetune --release $(DATASET) --out $(MODEL) --steps 150 --batch 16 --learning_rate 5e-5 --warmup 20 --ema 0.98 \
		--held_out 0.15 --sample_steps 20 --seed 1 $(ARGS)

generate: $(READY)  ## a grid of pictures by MODEL (pigment-model, which `make finetune` writes; or embedded), into pigment-pictures/
	@$(RUN) -m training.generate --model $(MODEL) --prompts training/generation/prompts.txt --overwrite --out pigment-pictures $(ARGS)

corpus: $(READY)  ## the full corpus (25,000 pairs or more) from Debian and npm packages, into pigment-corpus/
	$(RUN) -m training.corpus --out $(CORPUS)

runners: $(READY)  ## Prism, Spark and Flink for this machine, into ~/.cache/pigment/runners (PIGMENT_RUNNERS: elsewhere); needs go, java, mvn
	@$(RUN) -m infra.runners

test: $(READY)  ## all tests, two files at a time
	$(RUN) -m pytest -n 2 --dist loadfile

test-runners: runners  ## the main job on Prism, Spark and Flink, with kills; ends with `N passed, N failed` (ARGS=--keep: and keeps its table)
	@$(RUN) -m tests.infra $(ARGS)

check: $(READY)  ## lint, format, types, import direction
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy schemas quality pipelines training
	$(VENV)/bin/lint-imports

soak: $(READY)  ## the long proofs: the same tests with larger counts
	PIGMENT_SOAK=1 $(RUN) -m pytest -q

format: $(READY)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

lock:  ## requirements.lock from pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

gcs-server:  ## Google Cloud Storage on loopback, for its tests, by the Go module proxy
	GOBIN=$${XDG_CACHE_HOME:-$$HOME/.cache}/pigment/bin go install github.com/fsouza/fake-gcs-server@v1.56.1

clean:
	rm -rf $(VENV) pigment-data pigment-local pigment-model pigment-pictures pigment-sample pigment-web build *.egg-info
