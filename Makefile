# `make` prints what can be made. The recipes are what a person would type.

# CI=1 (or true, as CI systems set it) is for where nobody watches.
UNWATCHED := $(filter-out 0 false,$(CI))
BIN := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug
# The end-to-end tests mostly wait.
TEST_THREADS ?= 8
# The names of tests to leave out, as on a machine that lacks what they need.
SKIP ?=
# Steps of the story that `make outage` tells alone, as in OUTAGE='story 4 5'.
OUTAGE ?=
# How many cases of each kind `make fuzz` tries.
CASES ?= 1000000
MUTANTS_VERSION := 27.1.0
MUTANTS := target/tools/bin/cargo-mutants
# They put the list of its dependencies into a program, and print it as an SBOM.
AUDITABLE_VERSION := 0.7.7
AUDITABLE2CDX_VERSION := 0.1.0
AUDITABLE := target/tools/bin/cargo-auditable target/tools/bin/auditable2cdx

# The minor versions of Kubernetes that `make matrix` tries; `make test` has the newest pinned one.
MATRIX ?= 1.34 1.35 1.36

.PHONY: help build test matrix model model-long fuzz mutants leader-long faults-long bench bench-quick demo node outage outage-ends crd image krew lint control-plane clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

build: ## Build the operator, the demo and the tools
	cargo build --workspace --bins

test: ## Pass every test: those of the workspace, and the model check within its whole bounds
	cargo test --workspace --exclude model --no-fail-fast -- --test-threads=$(TEST_THREADS) $(addprefix --skip ,$(SKIP))
	$(MAKE) model

matrix: ## Pass the tests that need a cluster on other versions of Kubernetes, half an hour each once these are built; MATRIX='1.35'
	TEST_THREADS=$(TEST_THREADS) tests/matrix.sh $(MATRIX)

model: ## Check every interleaving within bounds against the invariants
	cargo test --profile fast -p model -- --nocapture

model-long: ## Check the model within bounds of your own: make model-long BOUNDS='--edits 2 --faults 2'
	cargo run --profile fast -p model -- $(BOUNDS)

fuzz: ## Try the settings and the plan on a million arbitrary objects; CASES=n for more
	PROPTEST_CASES=$(CASES) cargo test --profile fast -p fuzz

mutants: $(MUTANTS) ## Break what decides, applies and tells in every small way; hours on two cores
	$(MUTANTS) mutants

$(MUTANTS):
	cargo install cargo-mutants --locked --version $(MUTANTS_VERSION) --root target/tools

leader-long: ## Hand over, take over and overlap 100 times each instead of 10, and print how long it took
	LEADER_LONG=1 cargo test --test leader -- --nocapture --test-threads=$(TEST_THREADS)

faults-long: ## Kill the operator at every point, and let the API server be silent for 30 s instead of 10 s
	FAULTS_LONG=1 cargo test --test faults -- --nocapture --test-threads=$(TEST_THREADS)

bench: ## Measure the cost beside a bare client's, some 60 minutes; BENCH='--count 1000,5000,10000'
	cargo build --release -p workspace-operator -p bench --bins
	$(BIN:debug=release)/bench $(BENCH)

bench-quick: build ## Count the operator's requests, and fail when a count is not exact, or above its ceiling
	$(BIN)/bench --quick

demo: build ## Tell the story of the registry outage on a real cluster; CI=1 ends by itself
	$(BIN)/demo $(if $(UNWATCHED),--ci)

node: build ## Build what a real node is made of, and the operator's image; `make outage` does it as well
	$(BIN)/outage build

outage: build ## Replay the outage on a real node on this machine, as root, some 9 minutes
	$(BIN)/outage $(OUTAGE)

outage-ends: build ## See that nothing of that node is left, however it ends, as root
	cargo test --workspace --test ends --test machine -- --include-ignored --test-threads=1

crd: ## Generate crds/workspace.yaml, and the chart's copy, from the API's types
	cargo run --quiet --bin workspace-operator -- crd > crds/workspace.yaml.new
	mv crds/workspace.yaml.new crds/workspace.yaml
	cp crds/workspace.yaml deploy/chart/files/workspace.yaml

image: $(AUDITABLE) ## Build the operator's image, without a container engine; IMAGE=registry/name:tag pushes it
	deploy/image/build.sh

krew: ## Pack the kubectl plugin of this machine for Krew; KREW_URI=https://… is where it will lie
	deploy/krew/build.sh

target/tools/bin/cargo-auditable:
	cargo install cargo-auditable --debug --locked --version $(AUDITABLE_VERSION) --root target/tools

target/tools/bin/auditable2cdx:
	cargo install auditable2cdx --debug --locked --version $(AUDITABLE2CDX_VERSION) --root target/tools

lint: ## Check the format, and let clippy warn of nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

control-plane: build ## Build the pinned etcd, Kubernetes and kwok; the tests and the demo do it as well
	$(BIN)/control-plane build

clean: ## Remove all that was built, the control plane included
	cargo clean
