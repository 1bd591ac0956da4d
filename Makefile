# Every target sets up what it needs (below .venv/) and can be run again cheaply.
# make test       lint, types, and the suite on every CPython from 3.11 on, the latest fetched if need be
# make scenarios  the scenarios on real programs, with a report in reports/latest/; 15 minutes on two processors

# One more than the processors of a small machine: now and then a test waits, for a disk or for a time-out.
WORKERS ?= 3
# More arguments for pytest, for example: make test PYTEST="-k report -x"
PYTEST ?=
REPORT ?= reports/latest
# make report     make scenarios, the gate, and what is kept of a release in reports/release-VERSION/
# make scenarios BUDGET=all runs every case, for hours; BUDGET=few a quarter of the cases of long sweeps, no planted
# mistakes, and half of the sweeps over the five systems, whose checks are not tried.
# make test BUDGET=all runs those of the suite that are bounded, too. Without it, the oldest Python tries half of
# each long list and the others the rest, and sweeps are shorter on those.
BUDGET ?=
# How many tests or scenarios may fail once and pass when they are tried again, alone: see .ci/suite.py.
UNSTEADY ?= 3
export UNSTEADY
# What make shards divides: small, since it is run beside the whole.
DIVIDED ?= scenarios/programs/test_tempfile_replace.py
# make validation VALIDATE=complete runs as many programs as the models have been held against.
VALIDATE ?=
# What depends on the interpreter, and is enough on a Python that is neither the oldest nor the most common:
# all that forks workloads, reads stacks, lives in threads and event loops, or reads archives, and one file that
# runs inside pytest; but for what asks the kernel or a server alone. make test PART= runs everything everywhere.
PART ?= tests/inject tests/session/test_chaos.py tests/doctor tests/plugin/test_fixtures.py \
	$(addprefix tests/runtime/,calling running retrying guarding/test_archives.py test_context.py test_deadline.py) \
	--ignore=tests/inject/kernel/network/test_network_aws.py \
	$(foreach name,filter hostile interest signals differential wild cost everyday,\
		--ignore=tests/inject/kernel/test_kernel_$(name).py)
SET_UP = @sh .ci/bootstrap.sh
FIRST = $$(cat .venv/python)

.PHONY: help test pythons scenarios shards report validation lint docs bench lock clean

help:
	@echo "make test       lint, types, and the suite on every CPython from 3.11 on that is found"
	@echo "make pythons    CPython 3.14 and 3.15 in .cache/, where Debian's packages can be had"
	@echo "make scenarios  the scenarios on real programs and on the runtime; report in $(REPORT)/"
	@echo "                BUDGET=all runs every case of all of them, BUDGET=few is for a short look"
	@echo "make shards     one of them in two parts that are joined, as on several machines"
	@echo "make report     make scenarios, the gate, and what is kept of a release: reports/release-VERSION/"
	@echo "make validation compares the models of power loss with mounted file systems, and programs watched"
	@echo "                with programs alone, at length; needs root. VALIDATE=complete runs thousands on each"
	@echo "make lint       ruff and mypy"
	@echo "make docs       the documentation, in docs/_build/html/"
	@echo "make bench      the benchmarks, side by side in one run"
	@echo "make lock       write the versions that are installed to .ci/constraints.txt"
	@echo "make clean      remove what was made, the environments too"
	@echo "PYTEST=...      more arguments for pytest; WORKERS=n processes (now $(WORKERS));"
	@echo "UNSTEADY=n      how many tests may fail once and pass alone (now $(UNSTEADY)); they are named at the end"

# All Pythons are tried also when one fails; the last line of each is pytest's own summary.
test: lint
	$(SET_UP)
	@failed=; budget=$(BUDGET); \
	for python in $$(cat .venv/pythons); do \
		part="$(PART)"; \
		if grep -qxF "$$python" .venv/complete; then part=; fi; \
		echo "== $$($$python --version): pytest -n $(WORKERS) $$part"; \
		BUDGET=$$budget $$python .ci/suite.py --first -n --first $(WORKERS) \
			--first --dist --first worksteal $(PYTEST) $$part || \
			failed="$$failed $$python"; \
		budget=$${budget:-few}; \
	done; \
	if [ -n "$$failed" ]; then echo "The suite failed with:$$failed" >&2; exit 1; fi

# Already part of make test; here it is an error if they cannot be had.
pythons:
	$(SET_UP) --pythons

# The workers are those of xdist: most scenarios have few cases here, and recordings, set-ups and servers are as
# much of the work, which chaoskit's own workers do not share. Those had one processor idle for half of the time.
scenarios:
	$(SET_UP) --first --groups test,scenarios,peers
	@BUDGET=$(BUDGET) $(FIRST) .ci/suite.py --first --chaoskit-report --first $(REPORT) \
		--first -n --first $(WORKERS) --first --dist --first worksteal \
		scenarios --ignore scenarios/validation -p no:randomly \
		$(if $(filter few,$(BUDGET)),-o chaoskit_oracle=off) $(PYTEST)

# A scenario in two parts that are joined, as CI with several machines does it. What joining finds out of other
# shards is tested in tests/plugin/test_shards.py; here it is the commands.
shards:
	$(SET_UP) --first --groups test
	@for part in 1 2; do \
		$(FIRST) -m pytest $(DIVIDED) -q -p no:randomly -p no:xdist --chaoskit-workers $(WORKERS) \
			--chaoskit-shard $$part/2 --chaoskit-report reports/shards/$$part || exit 1; \
	done
	@$(FIRST) -m chaoskit report merge reports/shards/1 reports/shards/2 --into reports/shards/whole

# Kept only if the gate lets it pass: what is in the repository has been released.
report: scenarios
	@$(FIRST) -m chaoskit gate $(REPORT)
	@version=$$($(FIRST) -c "import chaoskit; print(chaoskit.__version__)"); \
	kept=reports/release-$$version; mkdir -p $$kept; \
	$(FIRST) -m chaoskit report html $(REPORT) --history reports/history.jsonl --output $$kept/index.html; \
	cp $(REPORT)/report.json $$kept/report.json; \
	$(FIRST) -m chaoskit report history $$kept --into reports/history.jsonl

# Whether the models of power loss are true: compares them with file systems that are mounted. And whether the
# harness is as safe and as invisible as it says: thousands of programs. Needs root.
# Of the models as many programs as fit into minutes; make validation VALIDATE=complete takes hours.
validation:
	$(SET_UP) --first
	@sh .ci/filesystems.sh
	@CHAOSKIT_VALIDATE=$(VALIDATE) $(FIRST) -m pytest scenarios/validation -p no:randomly -n $(WORKERS) $(PYTEST)

lint:
	$(SET_UP) --first
	@$(FIRST) -m ruff check .
	@$(FIRST) -m ruff format --check .
	@$(FIRST) -m mypy

docs:
	$(SET_UP) --first --groups docs
	@$(FIRST) -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench:
	$(SET_UP) --first --groups test,peers
	@for file in benchmarks/*.py; do echo "== $$file"; $(FIRST) "$$file" || exit 1; done

# Each environment may hold packages that the others need not: the union is what is pinned.
lock:
	$(SET_UP) --groups lock
	@$$(cat .venv/python) .ci/lock.py $$(cat .venv/pythons)

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist docs/_build
	rm -rf reports/latest reports/shards
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
