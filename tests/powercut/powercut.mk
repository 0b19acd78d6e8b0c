# Power cuts. Included by the Makefile.
#
# N=number of cuts, SEED=the first seed; a failure is replayed with N=1 and its seed.
# The store's cuts are those of each scenario of tests/crashfs.

.PHONY: test-powercut test-powercut-store

SEED ?= 0

test-powercut: N ?= 20
test-powercut: deps image ## Test: Cut the power of N=20 whole machines at random points; SEED=… replays
	@go run ./tests/powercut/main --arch $(ARCH) -n $(N) --seed $(SEED)

# PHASE_REQUIRE turns "cannot run here" from a skip into a failure.
test-powercut-store: export PHASE_REQUIRE := 1
test-powercut-store: N ?= 5000
test-powercut-store: ## Test: N=5000 power cuts of the store, and of all else that keeps files; SEED=… replays
	go test -count=1 -timeout=20m -v ./tests/crashfs -run '^TestCuts$$' -args -cuts=$(N) -seed=$(or $(filter-out 0,$(SEED)),1)
