# The job layer on a machine of its own: hostile modules held to their limits,
# and what jobs cost. Included by the Makefile. In a machine that does other
# things at the same time the figures mean nothing.

.PHONY: test-hostile bench-jobs

TURNS ?= 20

test-hostile: ## Hostile modules, each dead 100 ms after its limit beside a daemon that answers (PHASE_TIER=all: 1,000 runs)
	PHASE_ALONE=1 go test -count=1 -v -timeout 25m -run 'Hostile|ModulesThatCannotRun|Overhead|SlowReader' ./appliance/job

bench-jobs: ## What compiling, starting and running a job costs, beside bare wazero, wasmtime and native code
	@mkdir -p $(abspath $(BUILD))/bench
	go test -run '^$$' -bench Compile -benchtime 5x ./appliance/job
	go test -run '^$$' -bench Hello -benchtime 500x ./appliance/job
	go test -run '^$$' -bench Signed -benchtime 2000x ./appliance/job
	PHASE_MODULES=$(abspath $(BUILD))/bench go test -run '^$$' -bench CPU -benchtime $(TURNS)x ./appliance/job
	@if ! command -v cc >/dev/null; then echo "wasmtime is skipped: it needs a C compiler (apt install gcc)"; \
	else cd tests/benchwasmtime && PHASE_MODULES=$(abspath $(BUILD))/bench CGO_ENABLED=1 go test -run '^$$' -bench . -benchtime $(TURNS)x . ; fi
