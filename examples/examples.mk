# The modules of examples/, one a folder, as build/examples/NAME.wasm. The Go
# command knows better than make what has changed.

EXAMPLES := hello

.PHONY: examples $(EXAMPLES:%=$(BUILD)/examples/%.wasm)
examples: $(EXAMPLES:%=$(BUILD)/examples/%.wasm) ## Build the example modules

$(BUILD)/examples/%.wasm:
	GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o $@ ./examples/$*
