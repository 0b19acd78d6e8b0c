# Phase. `make help` lists the targets; images/images.mk, qemu/qemu.mk,
# examples/examples.mk and sdk/php/php.mk hold those of their folders.

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
.PHONY: help deps check test test-all test-fresh unit images-both demo demo-cross bench bench-boot bench-memory clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARCH=x86_64|arm64 (default x86_64) chooses the machine."

# The one list of Debian packages. Nothing else in the repository names what
# must be installed; images and qemu say which of these a missing tool is in.
DEPS := \
	qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 \
	e2fsprogs mtools dosfstools gdisk squashfs-tools \
	php-cli phpunit \
	avahi-daemon avahi-utils dbus
DEPS_FRESH := debootstrap

deps: ## Install the Debian packages that building and testing need
	@./tests/deps.sh $(DEPS)

include images/images.mk
include qemu/qemu.mk
include examples/examples.mk
include appliance/compute/scheduler/job.mk
include sdk/php/php.mk

check: ## Format, vet, staticcheck, tidy, import table, both architectures, clean tree
	@bad=$$(git ls-files -z '*.go' | xargs -0 gofmt -l); [ -z "$$bad" ] || { echo "gofmt would change:"; echo "$$bad"; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff
	go test -count=1 ./tests/architecture
	GOARCH=amd64 go build -o /dev/null ./programs/phase
	GOARCH=arm64 go build -o /dev/null ./programs/phase
	@dirty=$$(git status --porcelain) || exit 1; [ -z "$$dirty" ] || { echo "the tree is not clean:"; echo "$$dirty"; exit 1; }

# PHASE_REQUIRE turns "cannot run here" from a skip into a failure.
test test-all test-fresh unit bench bench-boot bench-memory demo demo-cross: export PHASE_REQUIRE := 1
UNITS = $$(go list ./... | grep -v '^phase/tests/machines$$')

unit: deps ## The tests beside the code alone
	go test -timeout 30m $(UNITS)

ifdef T
test: deps ## Everything in under 25 minutes; T=REGEXP runs just the tests so named, on the images as they are
	PHASE_TIER=all go test -count=1 -timeout 60m -v -run '$(T)' ./...
else
test: deps images-both
	go test -timeout 30m $(UNITS)
	@$(MAKE) --no-print-directory test-php
	PHASE_TIER=test go test -count=1 -timeout 40m -v ./tests/machines
endif

test-all: deps images-both ## Everything there is, in under 85 minutes
	PHASE_TIER=all go test -count=1 -timeout 30m $(UNITS)
	@$(MAKE) --no-print-directory test-php
	PHASE_TIER=all go test -count=1 -timeout 80m -v ./tests/machines

images-both:
	@$(MAKE) --no-print-directory image build examples ARCH=x86_64
	@$(MAKE) --no-print-directory image ARCH=arm64

test-fresh: ## Prove both commands in a fresh Debian 12 root with only Go, git and make
	@./tests/deps.sh $(DEPS_FRESH)
	./tests/fresh.sh

demo: deps ## Watch machines boot from each other
	@$(MAKE) --no-print-directory image build examples
	go run ./tests/demo --arch $(ARCH)

demo-cross: deps images-both ## The same jobs on both architectures, the same output, by their receipts
	go run ./tests/cross

bench: ## Benchmarks of fetch, verify and serve
	go test -run '^$$' -bench . -benchmem ./appliance/...

bench-boot: deps image ## Power on to the first answer, beside gokrazy's own hello
	go run ./tests/benchboot --arch $(ARCH)

bench-memory: deps image ## The least memory the loop works in, with and without a disk
	go run ./tests/benchmemory --arch $(ARCH)

clean: ## Remove what was built, keys excepted
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +
