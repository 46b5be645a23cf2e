# One line of help a target: `make help`.
PYTHON ?= python3
BIN := .venv/bin
MEMBERS := core/src operator/src api/src evaluator-image/src reporter/src client/src
TOOLS := hack/cluster hack/images hack/web hack/test hack/bench hack/chaos hack/demo.py hack/deployment.py hack/gate_simulation.py hack/image_container.py hack/markdown_lines.py hack/upstream.py examples/training_loop.py

.PHONY: help setup demo down web test chaos check generate verify image bench clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: ## Python environment in .venv, from the hashed lock file
	@PYTHON=$(PYTHON) hack/setup.sh

demo: setup ## A cluster, the chart, one real evaluation and its scores
	@PYTHONPATH=hack $(BIN)/python -m demo

down: ## Takes the clusters of demo and tests away: processes, mounts, namespaces, state
	@$(PYTHON) hack/cluster down && $(PYTHON) hack/cluster down --control-plane-only
	@for name in outages lost-node; do LMMS_EVAL_CLUSTER=$${LMMS_EVAL_CLUSTER:-lmms-eval}-$$name $(PYTHON) hack/cluster down || exit 1; done

web: ## Builds the web page into web/dist, with the Node of this machine or one from PyPI
	@$(PYTHON) hack/web build

test: setup ## Tests by TIER (unit, web, integration, harness, system; all), with ARGS of pytest: TIER=unit ARGS='-k position'
	@$(BIN)/python hack/test $(TIER) -- $(ARGS)

chaos: setup ## Injects faults for MINUTES (30) into a stream of evaluations, drawn from SEED; a table of violations
	@PYTHONPATH=hack:hack/cluster $(BIN)/python -m chaos --seed "$(SEED)" --minutes $(or $(MINUTES),30)

check: setup ## Format, lint, types, import rules, lines of Markdown, generated files
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(MEMBERS) tests
	@for tool in $(TOOLS); do $(BIN)/mypy $$tool || exit 1; done
	@broken=$$($(BIN)/lint-imports --no-cache) || { echo "$$broken"; exit 1; }
	@$(BIN)/python hack/markdown_lines.py
	@$(MAKE) --no-print-directory verify

generate: setup ## Writes the CRD and the list of status owners from core, and the OpenAPI document
	@$(BIN)/python -m lmms_eval_core.crd crds charts/lmms-eval/files
	@$(BIN)/python -m lmms_eval_api.server.openapi web/openapi.json

verify: setup ## Fails where a generated file differs from its source
	@rm -rf build/verify && $(BIN)/python -m lmms_eval_core.crd build/verify/crds build/verify/files
	@$(BIN)/python -m lmms_eval_api.server.openapi build/verify/openapi.json
	@diff -ru crds build/verify/crds && diff -ru charts/lmms-eval/files build/verify/files \
	  && diff -u web/openapi.json build/verify/openapi.json \
	  || { echo "generated files are stale; run: make generate"; exit 1; }

image: setup ## Builds the images, with docker or buildah
	@$(PYTHON) hack/images build

bench: setup ## Measures, in PARTS (release, scale, front-end, resume, samples, page, comparison, demo, tests; all); a table, and build/bench.json
	@PYTHONPATH=hack $(BIN)/python -m bench $(PARTS)

clean: ## Removes what was built inside the repository; caches and the cluster stay
	@rm -rf .venv build web/dist web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
