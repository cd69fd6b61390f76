# Two commands do everything: make verify checks this kernel, make test runs
# all tests. make help lists the rest.

ARCHES := amd64 arm64 riscv64
ARCH   := $(shell go env GOARCH 2>/dev/null)
BUILD  := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

AGENT_SOURCES := $(shell find cmd/bulkhead-agent harness/agent harness/probe harness/internal -name '*.go') go.mod
agent   = harness/agent/embedded/$(1)/bulkhead-agent
fixture = fixtures/embedded/$(1)/bb.zst

.PHONY: all help verify test test-vm test-vagrant unit suites soak vet bench clean cross docs docs-kernels docs-reports pictures generated setup

# Where test-vm keeps kernels.
KERNELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bulkhead/kernels

all: bin/bulkhead ## build bulkhead for this machine

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / — /'

# A machine without Go runs what make cross built on another. RUN holds flags of
# bulkhead run.
PREBUILT := $(if $(shell command -v go),,$(wildcard bin/bulkhead-linux-$(shell dpkg --print-architecture 2>/dev/null)))
ifneq ($(PREBUILT),)
verify:
	$(SUDO) $(PREBUILT) run $(RUN)
test:
	@echo "Go is not here: of the tests, the suite of $(PREBUILT)"
	$(SUDO) $(PREBUILT) run --strict $(RUN)
else
verify: bin/bulkhead ## check this kernel, through sudo when not root
	$(SUDO) ./bin/bulkhead run $(RUN)

test: generated vet unit suites ## run all tests
endif

vet: generated ## gofmt, go vet and staticcheck
	@unformatted=$$($$(go env GOROOT)/bin/gofmt -l cmd docs fixtures hack harness internal suites) && test -z "$$unformatted" || { echo "not formatted (gofmt -w): $$unformatted" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: generated ## the tests of everything but the suites
	go test ./cmd/... ./fixtures/... ./harness/... ./internal/...

suites: generated ## the suites through the ginkgo command, in parallel
	go tool ginkgo -p --randomize-all --keep-going ./suites/...

test-vm: setup bin/bulkhead cross ## check kernels in QEMU, two hosts with two kernels, and guests that end badly
	hack/test-vm $(KERNELS)

test-vagrant: bin/bulkhead-linux-amd64 ## prove the Vagrantfile: up, the suite inside, halt, up, destroy; as root
	SETUP_GROUPS=vagrant $(MAKE) -s setup
	hack/test-vagrant

# Packages are installed when that is allowed, and named otherwise.
setup:
	@if [ "$(CI)" = true ] || [ "$(SETUP)" = yes ]; then hack/setup $(SETUP_GROUPS); else hack/setup --check $(SETUP_GROUPS); fi

soak: bin/bulkhead ## run the suite 2*ROUNDS times beside itself (AREAS=network): any verdict that differs fails
	hack/soak $(or $(ROUNDS),25) $(AREAS)

bench: bin/bulkhead ## the cost of a sandbox and of a run against bare clone and exec
	go test -run '^$$' -bench . -benchtime 200x ./harness/
	@echo "a whole run, three times:"
	@for i in 1 2 3; do $(SUDO) ./bin/bulkhead run $(RUN) | tail -n 1; done

docs: generated ## write docs/claims.md and docs/advice.md from the claims
	go run ./cmd/bulkhead docs > docs/claims.md.new && mv docs/claims.md.new docs/claims.md
	go run ./cmd/bulkhead docs advice > docs/advice.md.new && mv docs/advice.md.new docs/advice.md

cross: $(ARCHES:%=bin/bulkhead-linux-%) ## build for every architecture

docs-kernels: bin/bulkhead cross ## write docs/kernels.md and docs/reports from the results of every kernel of matrix.yaml
	hack/kernels $(KERNELS)
	./bin/bulkhead matrix --mirror $(KERNELS) --file matrix.yaml --json bin/matrix.json
	./bin/bulkhead docs kernels bin/matrix.json > docs/kernels.md.new && mv docs/kernels.md.new docs/kernels.md
	$(MAKE) -s docs-reports pictures

# The kernels whose reports stand in docs/reports: the oldest and the newest.
REPORTS := debian:bullseye/cloud/amd64 debian:trixie-backports/cloud/amd64
docs-reports: bin/bulkhead ## write docs/reports from bin/matrix.json
	hack/reports bin/matrix.json docs/reports $(REPORTS)

pictures: ## draw the pictures of the README from bin/matrix.json
	go run ./hack/pictures bin/matrix.json docs/pictures

clean: ## remove what was built
	rm -rf bin
	rm -f $(foreach a,$(ARCHES),$(call agent,$(a)) $(call fixture,$(a)))

generated: $(call agent,$(ARCH)) $(call fixture,$(ARCH))

bin/bulkhead: generated FORCE
	$(BUILD) -o $@ ./cmd/bulkhead

bin/bulkhead-linux-%: $(call agent,%) $(call fixture,%) FORCE
	GOARCH=$* $(BUILD) -o $@ ./cmd/bulkhead

$(call agent,%): $(AGENT_SOURCES)
	GOARCH=$* $(BUILD) -o $@ ./cmd/bulkhead-agent

$(call fixture,%): fixtures/build/main.go go.mod
	go run ./fixtures/build -arch $* -o $@

.SECONDARY:
.PHONY: FORCE
FORCE:
