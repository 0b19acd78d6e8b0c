# One machine on this terminal. Included by the Makefile.
#
# IMAGE=file boots that image instead of a fresh build; MEMORY, FIRMWARE and PORT change the machine; KEEP=file keeps
# what it writes to its disk, for the next run.

.PHONY: run

MEMORY   ?= 512
PORT     ?= 8080
FIRMWARE ?=
KEEP     ?=
IMAGE    ?=

run: $(if $(IMAGE),,image) ## See it run: Boot one machine, console on this terminal, HTTP on 127.0.0.1:8080
	@go build -o $(BUILD)/bin/qemu ./qemu/main
	@$(BUILD)/bin/qemu run --image $(or $(IMAGE),$(BUILD)/phase-$(ARCH).img) --arch $(ARCH) --memory $(MEMORY) \
		--port $(PORT) $(if $(FIRMWARE),--firmware $(FIRMWARE)) $(if $(KEEP),--keep $(KEEP))
