# The job layer on a machine of its own: hostile modules held to their limits,
# and what jobs cost. Included by the Makefile. In a machine that does other
# things at the same time the figures mean nothing.

.PHONY: test-hostile bench-jobs

TURNS ?= 20

test-hostile: ## Test: Hostile modules, each dead 100 ms after its limit beside a daemon that answers (PHASE_TIER=all: 1,000 runs)
	PHASE_ALONE=1 go test -count=1 -v -timeout 25m -run 'Hostile|ModulesThatCannotRun|Overhead|SlowReader' ./appliance/compute/scheduler

# What is measured is kept here, and made one table of at the end.
JOBS := $(abspath $(BUILD))/bench/jobs.txt

# $(call measure,WHAT,TIMES): benches of this folder.
measure = @echo "measuring: $(1)"; PHASE_MODULES=$(dir $(JOBS)) go test -run '^$$' -bench '^Benchmark$(1)$$' -benchtime $(2)x ./appliance/compute/scheduler >>$(JOBS) 2>&1 \
	|| { cat $(JOBS); exit 1; }

bench-jobs: ## Measure: What compiling, starting and running a job costs, beside bare wazero, wasmtime and native code
	@mkdir -p $(dir $(JOBS))
	@: >$(JOBS)
	$(call measure,Compile,5)
	$(call measure,Hello,500)
	$(call measure,Signed,2000)
	$(call measure,CPU,$(TURNS))
	@if ! command -v cc >/dev/null; then echo "wasmtime is left out: it needs a C compiler (apt install gcc)"; \
	else echo "measuring: wasmtime"; \
	(cd tests/benchwasmtime && PHASE_MODULES=$(dir $(JOBS)) CGO_ENABLED=1 go test -run '^$$' -bench . -benchtime $(TURNS)x .) >>$(JOBS) 2>&1 \
	|| { cat $(JOBS); exit 1; }; fi
	@echo; awk -f appliance/compute/scheduler/bench.awk $(JOBS)
