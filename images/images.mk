# Programs, releases and images. Included by the Makefile.

.PHONY: build image release sizes

PROGRAMS := $(filter-out phase,$(notdir $(patsubst %/,%,$(wildcard programs/*/))))
IMAGES   := go run ./images/main
# The commit's time, unless VERSION was given.
RELEASE_VERSION := $(if $(filter command environment,$(firstword $(origin VERSION))),--release-version $(VERSION))

build: ## Build: The programs for this machine into build/bin, one binary and a link a name
	go build -ldflags '-s -w -buildid=' -o $(BUILD)/bin/ ./programs/phase
	@for name in $(PROGRAMS); do ln -sf phase $(BUILD)/bin/$$name; done
	go build -o $(BUILD)/bin/images ./images/main

image: ## Build: A signed release, the disk image and the QCOW2 of ARCH
	$(IMAGES) build --make-keys --arch $(ARCH) --out $(BUILD) --keys $(BUILD)/keys $(RELEASE_VERSION)

release: ## Build: The folder of releases alone, as a provider serves it
	$(IMAGES) build --make-keys --no-disk --arch $(ARCH) --out $(BUILD) --keys $(BUILD)/keys $(RELEASE_VERSION)

sizes: ## Measure: What the release and the images of ARCH weigh, and what they may
	@$(IMAGES) sizes --arch $(ARCH) --out $(BUILD) --keys $(BUILD)/keys
