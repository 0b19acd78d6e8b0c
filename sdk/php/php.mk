# The PHP SDK. Included by the Makefile.

.PHONY: test-php sdk-php-archive

test-php: export PHASE_REQUIRE := 1
test-php: deps build examples ## Test: The PHP SDK: the vectors Go reads too, nodes that lie, and the real plasmd
	@cd sdk/php && { phpunit || { [ -n "$(RETRY)" ] && echo "=== once more" && phpunit && echo "sdk/php: phpunit" >>"$(RETRY)"; }; }

# The SDK as Composer takes it from a path: its composer.json, with a version, at the
# root of a zip, alone in a folder, which Composer searches through. The same commit gives the same bytes.
SDK_VERSION = 0.$(VERSION)

sdk-php-archive: ## Build: The PHP SDK for Composer, build/php/phase-sdk-VERSION.zip
	go run ./packaging/main php --package-version $(SDK_VERSION) --time $(DEB_TIME) --out $(BUILD)/php
