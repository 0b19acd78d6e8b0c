# The PHP SDK. Included by the Makefile.

.PHONY: test-php

test-php: export PHASE_REQUIRE := 1
test-php: deps build examples ## Test: The PHP SDK: the vectors Go reads too, nodes that lie, and the real plasmd
	@cd sdk/php && { phpunit || { [ -n "$(RETRY)" ] && echo "=== once more" && phpunit && echo "sdk/php: phpunit" >>"$(RETRY)"; }; }
