#!/usr/bin/env bash
# Passes the tests that need a cluster on each minor version of Kubernetes that is named, and prints
# for each what passed, as rows of the README's table.
set -euo pipefail
cd "$(dirname "$0")/.."
binaries=tests/cluster/binaries
threads=${TEST_THREADS:-8}
# Those that start a cluster.
suites=(crd deploy e2e faults kubectl leader preflight)

version_in() {
    awk '$1 == "k8s.io/kubernetes" {print $2; exit}' "$binaries/$1/go.mod"
}

# While one test builds a program, all that need one wait, and some only wait for so long.
build() {
    cargo run --quiet -p cluster --bin control-plane -- "$@"
}

# Of what cargo printed: each suite with how many of its tests passed, and what did not. A suite that
# was killed prints no result.
row() {
    awk -v version="$1" '
        function add(what) {suites = suites (suites ? ", " : "") what; suite = ""}
        function broke_off() {if (suite) {broken++; add(suite " broke off")}}
        $1 == "Running" {broke_off(); split($2, path, "/"); suite = path[2]}
        /^test result:/ {failed += $6; add(suite " " $4)}
        END {
            broke_off()
            all = failed ? failed " failed" : broken || !suites ? "no" : "all"
            print "| " version " | " suites " | " all " |"
        }
    ' "$2"
}

newest=$(version_in kubernetes)
rows=()
failed=0
for tool in crane health helm krew prometheus promtool registry; do
    build tool "$tool" >/dev/null
done
for minor in "$@"; do
    if [[ $newest == "v$minor."* ]]; then
        version=$newest
        unset KUBERNETES
    else
        version=$(version_in "kubernetes-$minor")
        export KUBERNETES=$minor
    fi
    echo "Kubernetes $version"
    build build
    log=target/matrix-$minor.log
    mkdir -p target
    cargo test -p workspace-operator --no-fail-fast "${suites[@]/#/--test=}" -- \
        --test-threads="$threads" 2>&1 | tee "$log" || failed=1
    rows+=("$(row "$version" "$log")")
done

echo
echo "| Kubernetes | tests passed | |"
echo "|---|---|---|"
# As in the README, the newest first.
printf '%s\n' "${rows[@]}" | sort -r
exit "$failed"
