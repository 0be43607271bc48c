#!/usr/bin/env bash
# Renews requirements.lock and requirements-dev.lock from pyproject.toml, and requirements-torch.lock:
# `packaging/lock.sh`, or with `--upgrade` to the newest versions that are allowed. Needs uv and what building systemd-python needs (see install.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

# No wheel of onnxruntime fits both ends of the range: 1.23.2 is the last one for Python 3.10.
constraints() {
    echo 'onnxruntime==1.28.0 ; python_version >= "3.11"'
    echo 'onnxruntime==1.23.2 ; python_version < "3.11"'
}

# compile LOCK CONTENT EXTRA... [-- UV OPTION...]
# setuptools builds systemd-python (which has no wheels) and the project itself, so it is pinned like the rest.
# openvino declares openvino-telemetry but works without it; devices in a factory report to nobody.
compile() {
    local lock=$1 content=$2 extras=()
    shift 2
    while [[ $# -gt 0 && $1 != -- ]]; do
        extras+=(--extra "$1")
        shift
    done
    shift
    echo 'setuptools>=77' | uv pip compile --quiet --no-config --universal --python-version 3.10 \
        --generate-hashes --no-emit-package openvino-telemetry --no-header --no-annotate --no-emit-index-url \
        --constraint "$limits" "${extras[@]}" "$@" --output-file "$lock" pyproject.toml - >/dev/null
    { echo "# $content, for Python 3.10 to 3.14 on Linux. Made by packaging/lock.sh."; grep -v '^#' "$lock"; } >"$limits.out"
    cat "$limits.out" >"$lock"
}

limits=$(mktemp)
trap 'rm -f "$limits" "$limits.out"' EXIT
constraints >"$limits"
compile requirements-dev.lock "Everything but torch" demo workshop test -- "$@"
# The small lock takes the versions of the large one, so that both describe one environment.
compile requirements.lock "The runtime, and what the demo takes" demo -- --constraint requirements-dev.lock

# What builds on torch, which is in no lock: without dependencies, so that they bring no other torch.
printf '%s\n' 'dynamic-network-architectures>=0.4' 'torch-pruning>=1.6' | uv pip compile --quiet --no-config --no-deps \
    --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --no-emit-index-url "$@" \
    --output-file requirements-torch.lock - >/dev/null
