# Programs, releases and images. Included by the Makefile.

.PHONY: build image release attest reproduce sizes flash

PROGRAMS := $(filter-out phase phase-worker,$(notdir $(patsubst %/,%,$(wildcard programs/*/))))
COMMA    := ,
IMAGES   := go run ./images/main
# The commit's time, unless VERSION was given.
# The folder of keys of release, attest and reproduce.
KEYS ?= $(BUILD)/keys
RELEASE_VERSION := $(if $(filter command environment,$(firstword $(origin VERSION))),--release-version $(VERSION))

# The worker's program is linked twice: its build id is the digest of itself
# without one. The one binary holds that id, and starts no other worker.
# $(call programs,FOLDER/,ENVIRONMENT,LINKER FLAGS) links both.
define programs
$(2) go build -ldflags '-s -w -buildid=' -o $(1) ./programs/phase-worker
id=$$(sha256sum <$(1)phase-worker | cut -c1-64) && \
	$(2) go build -ldflags "-s -w -buildid=$$id" -o $(1) ./programs/phase-worker && \
	$(2) go build -ldflags "-s -w -buildid= -X phase/appliance/compute/worker.Build=$$id $(3)" -o $(1) ./programs/phase
endef

build: ## Build: The programs for this machine into build/bin, one binary and a link a name
	$(call programs,$(BUILD)/bin/)
	@for name in $(PROGRAMS); do ln -sf phase $(BUILD)/bin/$$name; done
	go build -o $(BUILD)/bin/images ./images/main

image: ## Build: A signed release of ARCH and its images: .img, .img.zst, .qcow2, netboot, signed; ARCH=all for both; BOARD=rpi: the Raspberry Pi's too
	@for arch in $(if $(filter all,$(ARCH)),x86_64 arm64,$(ARCH)); do \
		$(IMAGES) build --make-keys --arch $$arch --out $(BUILD) --keys $(BUILD)/keys $(RELEASE_VERSION) \
			$(if $(BOARD),$$([ $(ARCH) = all ] && [ $$arch != arm64 ] || echo --board $(BOARD))) || exit 1; done

release: ## Build: All of a release, both architectures, signed: VERSION=N, KEYS=DIR, BOARD=rpi; keys elsewhere: EXPORT=1, then IMPORT="DIR …"
	@BUILD='$(BUILD)' KEYS='$(KEYS)' RELEASE_VERSION='$(RELEASE_VERSION)' EXPORT='$(EXPORT)' IMPORT='$(IMPORT)' BOARD='$(BOARD)' ./images/release.sh

attest: ## Build: Beside the releases of both architectures, what is in them and who built them from what; with the digests of all files
	@for arch in x86_64 arm64; do $(IMAGES) attest --arch $$arch --out $(BUILD) --keys $(KEYS) || exit 1; done
	@cd $(BUILD) && sha256sum release/stable/*/* phase-*.img phase-*.qcow2

reproduce: ## Test: Build HEAD twice, as unlike as can be, and compare every byte; ARCH=all, TOOLS=DIR of another Debian
	go run ./tests/reproduce --arch $(if $(filter all,$(ARCH)),x86_64$(COMMA)arm64,$(ARCH)) $(if $(filter command environment,$(firstword $(origin KEYS))),--keys $(KEYS)) $(if $(TOOLS),--tools $(TOOLS))

flash: ## Build: The image of ARCH onto the disk DEV, with SET="phase.mode=local …", KEEP=1, FORCE=1; without DEV, which disks there are
	@$(IMAGES) flash $(BUILD)/phase-$(ARCH).img $(DEV) $(foreach s,$(SET),--set '$(s)') $(if $(KEEP),--keep) $(if $(FORCE),--force)

sizes: ## Measure: What the release and the images of ARCH weigh, and what they may
	@$(IMAGES) sizes --arch $(ARCH) --out $(BUILD) --keys $(BUILD)/keys
