# The Debian package. Included by the Makefile.

.PHONY: deb test-deb first-hour

# What must be installed to try the package, and the page of the first hour; `make test` does without.
DEPS_DEB := debootstrap lintian systemd qemu-user php-cli php-zip composer unzip
DEPS_HOUR := debootstrap iproute2

DEB_ARCH = $(or $(if $(filter x86_64 amd64,$(ARCH)),amd64),$(if $(filter arm64 aarch64,$(ARCH)),arm64),$(error ARCH=$(ARCH): a package is made for amd64 (x86_64) or arm64))
# Later versions are greater, and a 1.0 will be greater than all of these.
DEB_VERSION = 0.$(VERSION)
DEB_TIME = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))

# The one binary for this machine, which tells its manual pages; made first unless it is named.
OWN =
deb: $(if $(OWN),,build) ## Build: The Debian package of ARCH=amd64|arm64, build/phase_VERSION_ARCH.deb
	$(call programs,$(BUILD)/deb/$(DEB_ARCH)/,GOOS=linux GOARCH=$(DEB_ARCH),-X phase/appliance/base/program.Version=$(DEB_VERSION))
	@go run ./packaging/main deb --arch $(DEB_ARCH) --package-version $(DEB_VERSION) --time $(DEB_TIME) \
		--programs $(BUILD)/deb/$(DEB_ARCH) --own $(or $(OWN),$(BUILD)/bin/phase) --out $(BUILD)

test-deb: examples ## Test: The Debian package in a fresh root, under systemd: install, upgrade, remove, purge; lintian, the same bytes twice
	@./tests/deps.sh $(DEPS_DEB)
	./packaging/test.sh

first-hour: ## See it run: docs/first-hour.md, command by command, on two bare Debian machines, with the time of each step; downloads much, needs root
	@./tests/deps.sh $(DEPS_HOUR)
	./tests/firsthour.sh
