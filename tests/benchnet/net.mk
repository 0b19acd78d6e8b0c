# What the network of nodes costs. Included by the Makefile. In a machine that
# does other things at the same time the figures mean nothing.

.PHONY: bench-net

NET := $(abspath $(BUILD))/bench/net.txt

# $(call measure-net,WHAT,TIMES): benches of this folder.
measure-net = @echo "measuring: $(1)"; go test -run '^$$' -bench '^Benchmark$(1)$$' -benchtime $(2)x ./tests/benchnet >>$(NET) 2>&1 || { cat $(NET); exit 1; }

bench-net: ## Measure: What a job on another node costs, beside bare libp2p streams
	@mkdir -p $(dir $(NET))
	@: >$(NET)
	$(call measure-net,Bare,2000)
	$(call measure-net,BareStream,5)
	$(call measure-net,Here,1000)
	$(call measure-net,Job,1000)
	$(call measure-net,Beside,1000)
	$(call measure-net,Jobs,3000)
	$(call measure-net,Cat,5)
	$(call measure-net,Receipt,1000)
	$(call measure-net,Capabilities,1000)
	$(call measure-net,Record,500)
	$(call measure-net,Provider,500)
	@echo; awk -f tests/benchnet/bench.awk $(NET)
