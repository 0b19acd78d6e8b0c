# Phase. `make help` lists the targets; images/images.mk, qemu/qemu.mk,
# examples/examples.mk, sdk/php/php.mk and those under tests/ hold those of their
# folders.

ARCH    ?= x86_64
BUILD   := build
VERSION ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)

# The same inputs give the same bytes: no cgo, no stamp of the checkout.
export CGO_ENABLED := 0
export GOFLAGS     := -buildvcs=false -trimpath

.DEFAULT_GOAL := help
# What stands before a target comes before it, with make -j too; the go command
# divides the work among the processors by itself.
.NOTPARALLEL:
.PHONY: help deps check docs docs-check test test-all test-fresh test-attacks test-attacks-mutants test-heal unit machines race fuzz ci images-both demo demo-net demo-cross bench bench-boot bench-update bench-memory bench-start clean

# Behind a target stands "## GROUP: what it does", for this list.
help: ## Other: Show this list
	@awk -F ':.*## ' 'BEGIN { n = split("Build,See it run,Test,Measure,Other", groups, ",") } \
		/^[a-z-]+:.*## / { group = $$2; sub(/: .*/, "", group); sub(/^[^:]*: /, "", $$2); \
			lines[group] = lines[group] sprintf("  make %-20s %s\n", $$1, $$2) } \
		END { for (i = 1; i <= n; i++) printf "%s\n%s\n", groups[i], lines[groups[i]] }' $(MAKEFILE_LIST)
	@echo "ARCH=x86_64|arm64 (default x86_64) chooses the machine; image takes ARCH=all too."

# The one list of Debian packages. Nothing else in the repository names what
# must be installed; images and qemu say which of these a missing tool is in.
DEPS := \
	qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 \
	e2fsprogs mtools dosfstools gdisk squashfs-tools \
	php-cli phpunit \
	curl openssl \
	gcc libc6-dev \
	avahi-daemon avahi-utils dbus \
	nftables miniupnpd-nftables dnsmasq-base
DEPS_FRESH := debootstrap
# For the peer in JavaScript and the page in a browser, which test-all alone runs; node
# may come from elsewhere.
DEPS_NODE    := nodejs npm
DEPS_BROWSER := chromium
DEPS_ALL     := $(DEPS_NODE) $(DEPS_BROWSER)
DEPS_BENCH := nginx-light

deps: ## Build: Install the Debian packages that building and testing need
	@./tests/deps.sh $(DEPS)

include images/images.mk
include qemu/qemu.mk
include examples/examples.mk
include appliance/compute/scheduler/job.mk
include sdk/php/php.mk
include packaging/packaging.mk
include tests/benchnet/net.mk
include tests/powercut/powercut.mk

check: ## Test: Format, vet, staticcheck, tidy, the rules of tests/architecture, both architectures, clean tree
	@bad=$$(git ls-files -z '*.go' | xargs -0 gofmt -l); [ -z "$$bad" ] || { echo "gofmt would change:"; echo "$$bad"; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff
	go test -count=1 ./tests/architecture
	GOARCH=amd64 go build -o /dev/null ./programs/phase && GOARCH=amd64 go build -o /dev/null ./programs/phase-worker
	GOARCH=arm64 go build -o /dev/null ./programs/phase && GOARCH=arm64 go build -o /dev/null ./programs/phase-worker
	@dirty=$$(git status --porcelain) || exit 1; [ -z "$$dirty" ] || { echo "the tree is not clean:"; echo "$$dirty"; exit 1; }

docs: ## Build: Write the pages that are made from the code: docs/reference
	go test -count=1 ./tests/docs -run '^TestGenerated$$' -update

docs-check: export PHASE_REQUIRE := 1
docs-check: deps ## Test: Are the pages true: the reference is what the code says, links hold, commands run, figures name what prints them
	go test -count=1 -v ./tests/docs
	go test -count=1 ./tests/architecture -run 'Page|Table|Threats|Machines|Commands|Paths|Words|Programs|Wings'

# PHASE_REQUIRE turns "cannot run here" from a skip into a failure.
test test-all test-fresh test-attacks test-attacks-mutants unit machines race bench bench-boot bench-update bench-memory demo demo-net demo-cross: export PHASE_REQUIRE := 1
UNITS = $$(go list ./... | grep -v '^phase/tests/machines$$')
# What runs at once in one process, with its workers. Building images and driving
# machines is the work of other processes; -short leaves out a crowd of senders.
RACED       = $$(go list ./... | grep -Ev '^phase/(examples|images|packaging|qemu|tests|programs/update|appliance/compute/scheduler$$)')
RACED_SHORT = ./programs/update ./appliance/compute/scheduler
# How long each fuzz test runs.
TIME ?= 30s

# $(call gotest,FLAGS,PACKAGES) runs tests. .ci/run sets RETRY, a file: then a
# failed test runs once more, and what passes only then is noted there.
gotest = go test $(1) $(2)
ifdef RETRY
gotest = CGO_ENABLED=0 go build -o $(BUILD)/bin/retry ./tests/retry && $(BUILD)/bin/retry $(RETRY) $(1) $(2)
endif

unit: deps ## Test: The tests beside the code alone
	$(call gotest,-timeout=30m,$(UNITS))

ifdef T
test: deps ## Test: Everything in under 25 minutes; T=REGEXP runs just the tests so named, on the images as they are
	PHASE_TIER=all go test -count=1 -timeout 60m -v -run '$(T)' ./...
else
test: deps images-both unit test-php machines
endif

machines: export PHASE_TIER := test
machines: export PHASE_ARCH := $(ARCH)
machines: deps images-both ## Test: Real images in QEMU, one case of a class
	$(call gotest,-count=1 -timeout=40m -v,./tests/machines)

# Machine tests that are on both arches by themselves.
BOTH := TestChain|TestHeal|TestJobs|TestMixedSegment|TestWallsOnTheKernel|TestRaspberryPi

test-all: deps images-both ## Test: Everything there is, in under 85 minutes
	@command -v npm >/dev/null || ./tests/deps.sh $(DEPS_NODE)
	@./tests/deps.sh $(DEPS_BROWSER)
	PHASE_TIER=all go test -count=1 -timeout 30m $(UNITS)
	@$(MAKE) --no-print-directory test-php
	PHASE_TIER=all go test -count=1 -timeout 80m -v ./tests/machines
	PHASE_TIER=test PHASE_ARCH=arm64 go test -count=1 -timeout 40m -v -skip '$(BOTH)' ./tests/machines

# $(call tabled,FILE,TEST) runs a test of the attacks that writes a table, and prints that.
tabled = mkdir -p $(BUILD)/tests; rm -f $(1); code=0; PHASE_ATTACKS_TABLE=$(abspath $(1)) go test -count=1 -timeout 60m ./tests/attacks -run '^$(2)$$' || code=$$?; cat $(1); exit $$code

test-attacks: deps ## Test: Every class of attack against the real programs, with a table of what they said
	@$(call tabled,$(BUILD)/tests/attacks.txt,TestMatrix)

test-attacks-mutants: export PHASE_ATTACKS_MUTANTS := $(or $(M),all)
test-attacks-mutants: deps ## Test: The same without one check each, which must be seen: a table of what saw it; M=NAME,… for some
	@$(call tabled,$(BUILD)/tests/mutants.txt,TestMutants)

race: export CGO_ENABLED := 1
race: deps ## Test: The tests beside the code under the race detector, workers included
	$(call gotest,-race -timeout=20m,$(RACED))
	$(call gotest,-race -short -timeout=10m,$(RACED_SHORT))

fuzz: ## Test: Every fuzz test in turn, TIME=30s for each
	@./tests/fuzz.sh $(TIME)

ci: ## Test: .ci/run in a fresh clone of HEAD; when it is green, HEAD is added to .git/ci-green
	@./tests/ci.sh

images-both:
	@$(MAKE) --no-print-directory image build examples ARCH=all

test-heal: deps images-both ## Test: Broken releases, properly signed: the machine is back on the last good one by itself
	PHASE_TIER=all PHASE_REQUIRE=1 go test -count=1 -timeout 60m -v -run 'TestHeal$$' ./tests/machines

test-fresh: ## Test: Prove both commands in a fresh Debian 12 root with only Go, git and make
	@./tests/deps.sh $(DEPS_FRESH)
	./tests/fresh.sh

demo: deps ## See it run: Watch machines boot from each other
	@$(MAKE) --no-print-directory image build examples
	go run ./tests/demo --arch $(ARCH)

demo-net: deps ## See it run: Watch nodes on two networks find each other and work for each other
	@$(MAKE) --no-print-directory image build examples
	go run ./tests/demo --arch $(ARCH) net

demo-cross: deps images-both ## See it run: The same jobs on both architectures, the same output, by their receipts
	go run ./tests/cross

bench: ## Measure: Benchmarks of fetch, verify, serve and jobs; what serves a manifest beside nginx
	@./tests/deps.sh $(DEPS_BENCH)
	go test -run '^$$' -bench . -benchmem ./appliance/...

bench-boot: deps image ## Measure: Power on to the first answer, beside gokrazy's own hello
	go run ./tests/benchboot --arch $(ARCH)

bench-update: deps image ## Measure: An update, last answer to first, beside a cold boot; three releases on the disk; ROUNDS=3
	go run ./tests/benchupdate --arch $(ARCH) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-memory: deps image ## Measure: The least memory the loop works in, with and without a disk
	go run ./tests/benchmemory --arch $(ARCH)

bench-start: build ## Measure: What starting a program and a worker costs, and fresh jobs a second
	go run ./tests/benchstart

clean: ## Other: Remove what was built, keys excepted
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +
