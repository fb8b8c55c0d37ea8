#!/usr/bin/env bash
# Builds the operator's image without a container engine, as an OCI layout in target/image/layout.
# With IMAGE=registry/name:tag it is pushed there, and its digest is printed.
#
# The same sources and tools give the same digest: nothing in the image knows when it was built.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${PROFILE:-release}
out=${OUT:-target/image}
tools=$PWD/target/tools/bin
crane=$(cargo run --quiet -p cluster --bin control-plane -- tool crane)
# The certificate authorities that the image trusts, for those of a company too.
authorities=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64 | arm64) architecture=arm64 ;;
*)
    echo "image: there is no name for the architecture $(uname -m)" >&2
    exit 1
    ;;
esac
triple=${architecture/amd64/x86_64}
triple=${triple/arm64/aarch64}-unknown-linux-gnu

# One file that needs no other, with the list of its dependencies in it, for scanners.
PATH=$tools:$PATH RUSTFLAGS='-C target-feature=+crt-static' \
    cargo auditable build --locked --bin workspace-operator --profile "$profile" --target "$triple"
folder=${profile/#dev/debug}
binary=${CARGO_TARGET_DIR:-target}/$triple/$folder/workspace-operator

work=$(mktemp -d)
registry=
clean() {
    if [[ -n $registry ]]; then kill "$registry"; fi
    rm -rf "$work"
}
trap clean EXIT

root=$work/root
install -D -m 755 "$binary" "$root/workspace-operator"
install -D -m 644 "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
"$tools/auditable2cdx" "$binary" >"$work/sbom.cdx.json"
install -m 644 "$work/sbom.cdx.json" "$root/sbom.cdx.json"
tar --create --file "$work/layer.tar" --directory "$root" --sort=name --mtime=@0 \
    --owner=0 --group=0 --numeric-owner --format=ustar .

# crane changes the configuration of what is in a registry only, so there is one for that long.
"$crane" registry serve --address 127.0.0.1:0 2>"$work/registry.log" &
registry=$!
port=
for _ in $(seq 100); do
    port=$(sed -n 's/.*serving on port \([0-9]*\).*/\1/p' "$work/registry.log")
    [[ -n $port ]] && break
    sleep 0.1
done
built=127.0.0.1:$port/workspace-operator:$version
"$crane" append --oci-empty-base --new_layer "$work/layer.tar" --new_tag "$built" >/dev/null
"$crane" mutate "$built" --tag "$built" --set-platform "linux/$architecture" \
    --entrypoint /workspace-operator --cmd run --user 65532:65532 --workdir / --exposed-ports 8080/tcp \
    --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    --label org.opencontainers.image.title=workspace-operator \
    --label "org.opencontainers.image.version=$version" \
    --label "org.opencontainers.image.revision=$revision" \
    --label org.opencontainers.image.licenses=Apache-2.0 >/dev/null

rm -rf "$out"
mkdir -p "$out"
"$crane" pull --format=oci "$built" "$out/layout"
cp "$work/sbom.cdx.json" "$out/"
size() { awk -v bytes="$(cat "$@" | wc -c)" 'BEGIN { printf "%.1f MB", bytes / 1000000 }'; }
echo "image: $(size "$binary") of operator, $(size "$out"/layout/blobs/sha256/*) to pull"
if [[ -n ${IMAGE:-} ]]; then
    "$crane" push "$out/layout" "$IMAGE"
else
    echo "$out/layout: linux/$architecture $("$crane" digest "$built")"
fi
