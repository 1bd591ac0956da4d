# Every target sets up what it needs (below .venv/) and can be run again cheaply.
# make test       lint, types, and the suite on every CPython from 3.11 on, the latest fetched if need be
# make scenarios  the scenarios on real programs, with a report in reports/latest/

WORKERS ?= 2
# More arguments for pytest, for example: make test PYTEST="-k report -x"
PYTEST ?=
REPORT ?= reports/latest
# make scenarios BUDGET=all runs every case of the sweeps of the runtime, which takes half an hour more.
BUDGET ?=
# Where scenarios keep the directories of their cases: in memory, where there is such a place, since
# thousands of cases that wait for a disk to sync take minutes.
MEMORY = $(if $(wildcard /dev/shm/.),-o chaoskit_tmp=/dev/shm)
# What depends on the interpreter, and is enough on a Python that is neither the oldest nor the most common:
# all that forks workloads, reads stacks, runs inside pytest, or lives in threads and event loops.
# make test PART= runs everything everywhere.
PART ?= tests/inject tests/conformance tests/session tests/explore tests/doctor tests/runtime tests/test_project.py \
	$(addprefix tests/plugin/test_,running.py scenarios.py fixtures.py planted_bugs.py)
SET_UP = @sh .ci/bootstrap.sh
FIRST = $$(cat .venv/python)

.PHONY: help test pythons scenarios validation lint docs bench lock clean

help:
	@echo "make test       lint, types, and the suite on every CPython from 3.11 on that is found"
	@echo "make pythons    CPython 3.14 and 3.15 in .cache/, where Debian's packages can be had"
	@echo "make scenarios  the scenarios on real programs and on the runtime; report in $(REPORT)/"
	@echo "                BUDGET=all runs every case of all of them"
	@echo "make validation compares the models of power loss with mounted file systems; needs root"
	@echo "make lint       ruff and mypy"
	@echo "make docs       the documentation, in docs/_build/html/"
	@echo "make bench      the benchmarks, side by side in one run"
	@echo "make lock       write the versions that are installed to .ci/constraints.txt"
	@echo "make clean      remove what was made, the environments too"
	@echo "PYTEST=...      more arguments for pytest; WORKERS=n processes (now $(WORKERS))"

# All Pythons are tried also when one fails; the last line of each is pytest's own summary.
test: lint
	$(SET_UP)
	@failed=; \
	for python in $$(cat .venv/pythons); do \
		part="$(PART)"; \
		if grep -qxF "$$python" .venv/complete; then part=; fi; \
		echo "== $$($$python --version): pytest -n $(WORKERS) $$part"; \
		$$python -m pytest -n $(WORKERS) $(PYTEST) $$part || failed="$$failed $$python"; \
	done; \
	if [ -n "$$failed" ]; then echo "The suite failed with:$$failed" >&2; exit 1; fi

# Already part of make test; here it is an error if they cannot be had.
pythons:
	$(SET_UP) --pythons

# The workers are chaoskit's own: they share the cases of one scenario, so that the longest does not decide.
scenarios:
	$(SET_UP) --first --groups test,scenarios,peers
	@BUDGET=$(BUDGET) $(FIRST) -m pytest scenarios --ignore scenarios/validation -p no:randomly -p no:xdist \
		--chaoskit-workers $(WORKERS) --chaoskit-report $(REPORT) $(MEMORY) $(PYTEST)

# Whether the models of power loss are true: compares them with file systems that are mounted. Needs root.
validation:
	$(SET_UP) --first
	@$(FIRST) -m pytest scenarios/validation -p no:randomly -n $(WORKERS) $(PYTEST)

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
	rm -rf reports/latest
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
