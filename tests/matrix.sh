#!/usr/bin/env bash
# Passes the tests that need a cluster on each minor version of Kubernetes that is named, and prints
# for each what passed, as rows of the README's table.
set -euo pipefail
cd "$(dirname "$0")/.."
binaries=tests/cluster/binaries
threads=${TEST_THREADS:-8}

version_in() {
    awk '$1 == "k8s.io/kubernetes" {print $2; exit}' "$binaries/$1/go.mod"
}

# Of what cargo printed: each suite with how many of its tests passed, and how many did not.
row() {
    awk -v version="$1" '
        $1 == "Running" {split($2, path, "/"); suite = path[2]}
        /^test result:/ {
            passed = suite " " $4
            failed += $6
            suites = suites (suites ? ", " : "") passed
        }
        END {print "| " version " | " suites " | " (failed ? failed " failed" : "all") " |"}
    ' "$2"
}

newest=$(version_in kubernetes)
rows=()
failed=0
for minor in "$@"; do
    if [[ $newest == "v$minor."* ]]; then
        version=$newest
        unset KUBERNETES
    else
        version=$(version_in "kubernetes-$minor")
        export KUBERNETES=$minor
    fi
    echo "Kubernetes $version"
    log=target/matrix-$minor.log
    mkdir -p target
    cargo test -p workspace-operator --no-fail-fast --test crd --test deploy --test e2e --test faults \
        --test leader -- --test-threads="$threads" 2>&1 | tee "$log" || failed=1
    rows+=("$(row "$version" "$log")")
done

echo
echo "| Kubernetes | tests passed | |"
echo "|---|---|---|"
printf '%s\n' "${rows[@]}"
exit "$failed"
