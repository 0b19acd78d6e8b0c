# The modules of examples/, one a folder, as build/examples/NAME.wasm. The Go
# command knows better than make what has changed.

EXAMPLES := hello primes environment

EXAMPLE_FILES := $(EXAMPLES:%=$(BUILD)/examples/%.wasm)

.PHONY: examples $(EXAMPLE_FILES)
examples: $(EXAMPLE_FILES) ## Build: The example modules

$(EXAMPLE_FILES): $(BUILD)/examples/%.wasm:
	GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o $@ ./examples/$*
