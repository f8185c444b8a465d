# Every target does its own set-up, and does it once: `make local` on a fresh machine is enough.

SHELL := /bin/bash
PYTHON ?= python3
PIPENV_VERSION := 2026.10.3
STACK ?= tap
SEED ?= 1
FILES ?= 300
RATE ?= 1

export PIPENV_VENV_IN_PROJECT := 1
export PIPENV_IGNORE_VIRTUALENVS := 1
export PIPENV_NOSPIN := 1
export PIPENV_VERBOSITY := -1
export CHECKPOINT_DISABLE := 1
# jsii would print a banner about Node 20 at every synth; its value is the major version it shall not mention.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

python := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup local local-up local-down test test-examples test-faults test-permissions test-upgrade test-load lint check-cdktn synth plan bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

local: prerequisites .venv/ready ## everything on this machine: deploy onto the embedded AWS, send the samples through, report, tear down
	@$(python) -m local run

local-up: prerequisites .venv/ready ## start, deploy and leave it running; .local/outputs.json tells where
	@$(python) -m local up

local-down: .venv/ready ## stop what local-up started and remove everything
	@$(python) -m local down

setup: .venv/ready ## the locked Python packages alone, all that python -m ops needs

test: prerequisites .venv/ready node_modules/ready .tools/checkov/ready ## all tests, and what lint checks
	@$(python) -m checks
	@$(python) -m pytest -n 4

test-examples: prerequisites .venv/ready ## the unit tests, with new examples for their properties
	@$(python) -m pytest tests/unit -n 3 --hypothesis-profile=new

test-faults: prerequisites .venv/ready ## hundreds of files under injected faults, then an audit, e.g. make test-faults SEED="1 2"
	@FAULTS_SEED="$(SEED)" FAULTS_FILES="$(FILES)" FAULTS_RATE="$(RATE)" $(python) -m pytest tests/faults -q -s

test-load: prerequisites .venv/ready ## bursts of small files through every system: is each accounted for?
	@$(python) -m bench.load

test-permissions: prerequisites .venv/ready ## that every permission is needed: each one is taken away and missed
	@$(python) -m pytest tests/permissions

test-upgrade: prerequisites .venv/ready ## deploy an earlier release, upgrade it while files run, remove everything; FROM=REF names the release
	@UPGRADE_FROM=$(FROM) $(python) -m pytest tests/upgrade

lint: prerequisites .venv/ready node_modules/ready .tools/checkov/ready ## style, types, import contracts, state machines, policies
	@$(python) -m checks

synth: prerequisites .venv/ready ## write the Terraform JSON of every stack to cdktf.out/
	@$(python) main.py && ls -1 cdktf.out/stacks/*/cdk.tf.json

plan: prerequisites .venv/ready ## what Terraform would change, e.g. make plan STACK=tap
	@$(python) -m local plan $(STACK)

bench: prerequisites .venv/ready .tools/bench/ready ## the benchmarks, as ratios measured in the same run
	@$(python) bench/synth.py
	@$(python) -m bench.pipeline
	@$(python) -m bench.hostile
	@$(python) -m bench.etl

check-cdktn: prerequisites .venv/ready .tools/cdktn/ready ## what the fork of CDKTF, cdktn, synthesises otherwise
	@$(python) -m checks.cdktn

clean: ## remove what the other targets made, save for the tools
	rm -rf cdktf.out .build .local

.PHONY: prerequisites
prerequisites:
	@$(PYTHON) local/prerequisites.py

.venv/ready: Pipfile.lock
	@echo "· Python packages, as locked, into .venv"
	@test -x .tools/pipenv/bin/pipenv || { $(PYTHON) -m venv .tools/pipenv && .tools/pipenv/bin/pip install --quiet pipenv==$(PIPENV_VERSION); }
	@test -x $(python) || $(PYTHON) -m venv .venv
	@.tools/pipenv/bin/pipenv sync --dev >.tools/pipenv.log 2>&1 || { cat .tools/pipenv.log; exit 1; }
	@touch $@

node_modules/ready: package-lock.json
	@echo "· Node tools, as locked, into node_modules"
	@npm ci --no-fund --no-audit --loglevel=error
	@touch $@

# An environment of its own, from the lock beside this target's first prerequisite.
define own_environment
@echo "· $(1), as locked, into $(@D)"
@mkdir -p $(@D) && cp $(<D)/Pipfile $(<D)/Pipfile.lock $(@D)/
@test -x $(@D)/.venv/bin/python || $(PYTHON) -m venv $(@D)/.venv
@cd $(@D) && PIPENV_PIPFILE=$$PWD/Pipfile ../pipenv/bin/pipenv sync >../$(notdir $(@D)).log 2>&1 || { cat ../$(notdir $(@D)).log; exit 1; }
@touch $@
endef

.tools/checkov/ready: checks/checkov/Pipfile.lock | .venv/ready # checkov pins an old boto3
	$(call own_environment,the policy scanner)

.tools/bench/ready: bench/Pipfile.lock | .venv/ready # what the ETL is measured against; nothing that runs needs it
	$(call own_environment,what is measured against)

.tools/cdktn/ready: checks/cdktn/Pipfile.lock | .venv/ready # the fork of CDKTF wants older constructs
	$(call own_environment,the fork of CDKTF)
