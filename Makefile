# What people and CI run. `make` lists it; README.md says which two to begin with.

GO := go
# The program has no C in it, so its tests have none either; the race detector alone needs it.
export CGO_ENABLED := 0

STATICCHECK_VERSION := v0.8.2
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/prismflow-tools
# Beside the Go version: staticcheck reads only what the Go that built it can.
STATICCHECK := $(TOOLS)/staticcheck-$(STATICCHECK_VERSION)-$(shell $(GO) env GOVERSION)/staticcheck

CONCURRENT := ./dag/... ./artifacts/... ./stages/engine/...

# The revision is stamped where there is one to ask.
BUILDVCS := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)

.PHONY: help build setup demo test test-long race lint bench pin-versions clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

build: ## build bin/prismflow
	@mkdir -p bin
	$(GO) build -buildvcs=$(BUILDVCS) -trimpath -o bin/prismflow ./cmd/prismflow

setup: build ## install libtorch where there is none (Debian, Ubuntu)
	@.ci/setup

demo: setup ## generate data, train, evaluate: from nothing to a table of metrics
	bin/prismflow run demo
	@echo 'real data: README.md, "The first real run"'

test: build ## all tests, those about concurrency also with the race detector
	@.ci/setup || test "$$CI" != true
	@test "$$CI" != true || .ci/test-servers
	$(GO) test -timeout 20m ./...
	@$(MAKE) --no-print-directory race

race: ## the packages that are about concurrency, with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(CONCURRENT)
	CGO_ENABLED=1 $(GO) test -race -run Concurrent ./stages/picture

test-long: build ## soak, fuzz and large tests
	@.ci/setup || test "$$CI" != true
	.ci/long

lint: $(STATICCHECK) ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-clean:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

$(STATICCHECK):
	@echo "building staticcheck $(STATICCHECK_VERSION), once; it takes some minutes"
	GOBIN=$(@D) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

bench: ## all benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -timeout 2h ./...

pin-versions: ## record the source of stage kinds beside their versions (see stages/kinds/README.md)
	$(GO) test ./stages/kinds -run TestVersions -update $(if $(UNALTERED),-unaltered=$(UNALTERED))

clean: ## remove what was built; the cache of results stays
	rm -rf bin
