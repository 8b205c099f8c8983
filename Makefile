# One command each, on a machine with python3 and make. GNU make 3.81 (macOS) is enough.
.DEFAULT_GOAL := help
.PHONY: help install install-dev train serve test test-fast services lint image image-test deploy-check benchmark format constraints clean

# An existing .venv keeps the Python it was made with; `PYTHON=python3.12 make train` moves it to another.
PYTHON ?= $(shell .venv/bin/python -c '' 2>/dev/null && echo .venv/bin/python || echo python3)
SETUP = $(PYTHON) scripts/setup_venv.py
PY = .venv/bin/python
AS_ROOT = $(if $(filter-out 0,$(shell id -u)),sudo)

help:  ## this list
	@echo 'make TARGET [ARGS="..."]    PYTHON=python3.12 in front chooses the Python of .venv'
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile | while read -r name what; do printf '  %-12s %s\n' "$$name" "$$what"; done

install:  ## make .venv with the run-time packages (train and test do this by themselves)
	@$(SETUP)

install-dev:
	@$(SETUP) --extra dev

train: install  ## train a model; ARGS="model=resnet trainer.epochs=3" are Hydra overrides
	$(PY) scripts/train.py $(ARGS)

serve: install  ## serve the newest run (before that pretrained/) on http://127.0.0.1:5000/; ARGS="server.port=8080" are Hydra overrides
	$(PY) scripts/serve.py $(ARGS)

test: lint  ## lint, then the tests on JAX, then those marked `backend` on TensorFlow; ARGS go to the first pytest
	KERAS_BACKEND=jax $(PY) -m pytest --numprocesses 3 --dist worksteal $(ARGS)
	KERAS_BACKEND=tensorflow $(PY) -m pytest --numprocesses 3 --dist worksteal -m backend

test-fast: install-dev  ## the tests that start no process, use no network and need no service: a minute and a half, on JAX
	KERAS_BACKEND=jax $(PY) -m pytest --fast --numprocesses 2 --dist worksteal $(ARGS)

image:  ## build the server's container image with podman or docker; ARGS="--build-arg ..." go to its build
	@deploy/build.sh $(ARGS)

image-test: install-dev  ## start that image as an operator would, and test it over HTTP
	KERAS_BACKEND=jax $(PY) -m pytest --image --numprocesses 2 --dist loadfile tests/deploy $(ARGS)

services:  ## install PostgreSQL, Redis, nginx, Caddy, Chromium, Slurm, podman, systemd and npm on Debian; tests start their own, and are skipped where one is missing
	@if command -v redis-server && command -v chromium && command -v caddy && command -v systemd-analyze && command -v /usr/sbin/nginx && command -v slurmctld && command -v munged && command -v podman && command -v mmdebstrap && command -v npm && ls /usr/lib/postgresql/*/bin/postgres; then \
	    true; \
	elif command -v apt-get; then \
	    $(AS_ROOT) apt-get update && \
	    $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	        buildah caddy catatonit chromium mmdebstrap munge nginx-light podman postgresql redis-server runc slurm-wlm systemd \
	        $$(command -v npm >/dev/null || echo npm); \
	else \
	    echo 'install PostgreSQL, Redis, nginx and Chromium as this system does it (macOS: brew install postgresql redis nginx chromium)'; \
	fi

lint: install-dev  ## ruff, mypy, spelling, vocabulary, hadolint, and the schemas of the workflow and CITATION.cff; changes nothing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m codespell_lib
	$(PY) scripts/check_vocabulary.py
	$(PY) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(PY) -m check_jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	.venv/bin/hadolint deploy/Dockerfile

deploy-check: .venv/checkov/bin/checkov  ## checkov, a security linter, on deploy/; each finding is fixed, or explained in its file
	@rm -rf .venv/rendered && mkdir .venv/rendered
	for part in overlays/single overlays/scaled training; do \
	    .venv/bin/kubectl kustomize deploy/kubernetes/$$part > .venv/rendered/$$(basename $$part).yaml || exit 1; \
	done
	$(CHECKOV) --framework kubernetes --directory .venv/rendered
	$(CHECKOV) --framework cloudformation dockerfile --directory deploy

CHECKOV = .venv/checkov/bin/checkov --quiet --compact --skip-download

# In an environment of its own, since its pins conflict with this project's.
.venv/checkov/bin/checkov: tests/deploy/checkov.txt | install-dev
	$(PY) -m venv --without-pip .venv/checkov
	$(PY) -m pip --python .venv/checkov/bin/python install --quiet --requirement $<
	@touch $@

benchmark:  ## measure speed, compared with the baseline and others: training, then serving (25 minutes); ARGS="--rounds 3"
	@$(SETUP) --extra benchmark
	$(PY) scripts/benchmark.py training $(ARGS)
	$(PY) scripts/benchmark.py serving $(ARGS)

format: install-dev  ## rewrite the code to the house style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

constraints:  ## pin in constraints.txt what pyproject.toml newly asks for; lines deleted there first are renewed
	@$(SETUP) --extra dev --complete-constraints

clean:  ## remove .venv and caches; outputs/ and data/ stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis fashion.egg-info
	find fashion scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
