#!/usr/bin/env bash
# Packs the kubectl plugin of this machine for Krew, into target/krew: the archive, and a manifest
# that has its hash and, with KREW_URI=https://…, the folder where it will lie.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${OUT:-target/krew}
binary=${BINARY:-}
if [[ -z $binary ]]; then
    cargo build --locked --release --bin workspace-operator
    binary=${CARGO_TARGET_DIR:-target}/release/workspace-operator
fi

case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64 | arm64) architecture=arm64 ;;
*)
    echo "krew: there is no name for the architecture $(uname -m)" >&2
    exit 1
    ;;
esac
system=$(uname -s | tr '[:upper:]' '[:lower:]')
archive=workspace-operator-$system-$architecture.tar.gz

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$binary" "$work/workspace-operator"
cp LICENSE "$work/LICENSE"
mkdir -p "$out"
tar -czf "$out/$archive" -C "$work" workspace-operator LICENSE
if command -v sha256sum >/dev/null; then
    hash=$(sha256sum "$out/$archive")
else
    hash=$(shasum -a 256 "$out/$archive")
fi

# The other platforms keep their zeros, by which Krew refuses what was not packed.
awk -v archive="$archive" -v hash="${hash%% *}" -v uri="${KREW_URI:-}" '
    /^      uri:/ {
        ours = index($0, "/" archive)
        if (ours && uri != "") $0 = "      uri: " uri "/" archive
    }
    /^      sha256:/ && ours { $0 = "      sha256: \"" hash "\"" }
    { print }
' deploy/krew/workspace.yaml >"$out/workspace.yaml"
echo "$out/$archive"
echo "$out/workspace.yaml"
