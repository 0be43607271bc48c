#!/usr/bin/env bash
# Builds the Debian packages. `packaging/build-deb.sh --help` says how.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'END'
Usage: packaging/build-deb.sh [amd64|arm64] [--release NAME] [--out DIR]

Builds edgecls, edgecls-openvino and edgecls-models for one processor and one release of Debian or Ubuntu: bookworm,
trixie, jammy or noble. The defaults are those of this machine; the packages go to dist/. The wheels are those of
requirements.lock; nothing of them is run, so packages for arm64 can be built on amd64. What is built depends on the
commit alone, except for uncommitted changes.
END
}

die() {
    printf 'build-deb.sh: %s\n' "$*" >&2
    exit 1
}

say() { printf '%s\n' "$*" >&2; }

# --- what to build ----------------------------------------------------------------------------------------------------

# of_release NAME sets the minor of its Python, that of its C library, and what follows the version of its packages.
of_release() {
    case $1 in
        bookworm) PYTHON=3.11 GLIBC=36 SUFFIX=deb12u1 ;;
        trixie) PYTHON=3.13 GLIBC=41 SUFFIX=deb13u1 ;;
        jammy) PYTHON=3.10 GLIBC=35 SUFFIX=ubuntu22.04.1 ;;
        noble) PYTHON=3.12 GLIBC=39 SUFFIX=ubuntu24.04.1 ;;
        *) die "there are no packages for ${1:-this release}; --release takes bookworm, trixie, jammy or noble." ;;
    esac
}

# This machine's release. Raspberry Pi OS calls its releases by Debian's names.
release_here() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

arch='' release='' out=dist
while [[ $# -gt 0 ]]; do
    case $1 in
        amd64 | arm64) arch=$1 ;;
        --release | --out)
            [[ $# -gt 1 ]] || die "$1 needs a value."
            if [[ $1 == --out ]]; then out=$2; else release=$2; fi
            shift
            ;;
        -h | --help)
            usage
            exit
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
for tool in dpkg-buildpackage dh python3; do
    command -v "$tool" >/dev/null ||
        die "$tool is missing; install what the build needs with: apt-get install debhelper python3-venv"
done
arch=${arch:-$(dpkg --print-architecture)}
case $arch in
    amd64) MACHINE=x86_64 ;;
    arm64) MACHINE=aarch64 ;;
    *) die "there are no wheels for $arch, only for amd64 and arm64." ;;
esac
release=${release:-$(release_here)}
of_release "$release"
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)-1~$SUFFIX

# The time that everything in the packages carries: that of the commit, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null ||
    stat -c %Y pyproject.toml)}

# --- the wheels -------------------------------------------------------------------------------------------------------

work=build/deb
wheels=$work/wheels-$PYTHON-$arch
tools=$work/tools
mkdir -p "$work" "$out"
exec 9<"$work"
flock 9 # one build at a time: they share wheels and tools

# The environment with which edgecls itself is made a wheel.
make_tools() {
    [[ ! -e $tools/ready ]] || return 0
    rm -rf "$tools"
    python3 -m venv "$tools" || die "python3 cannot make virtual environments: apt-get install python3-venv"
    "$tools/bin/python" -m pip --disable-pip-version-check -q install --no-deps --require-hashes \
        -r <(awk '/^setuptools==/, !/\\$/' requirements.lock)
    touch "$tools/ready"
}

fetch_wheels() {
    local wanted platforms=() minor
    wanted=$("$tools/bin/python" packaging/wheels.py lock requirements.lock --python "$PYTHON" --machine "$MACHINE")
    [[ ! -e $wheels/requirements.txt || $(<"$wheels/requirements.txt") != "$wanted" ]] || return 0
    say "Fetching the wheels for Python $PYTHON on $arch …"
    rm -rf "$wheels"
    mkdir "$wheels"
    for ((minor = GLIBC; minor >= 17; minor--)); do platforms+=(--platform "manylinux_2_${minor}_$MACHINE"); done
    for minor in 2014 2010 1; do platforms+=(--platform "manylinux${minor}_$MACHINE"); done
    "$tools/bin/python" -m pip --disable-pip-version-check -q download --no-deps --require-hashes \
        --only-binary :all: --implementation cp --python-version "$PYTHON" "${platforms[@]}" \
        --dest "$wheels" -r <(printf '%s\n' "$wanted")
    printf '%s\n' "$wanted" >"$wheels/requirements.txt" # last: an interrupted fetch begins again
}

# --- the packages -----------------------------------------------------------------------------------------------------

# make_source DIR: what the packages are made of, with debian/ in its place.
make_source() {
    mkdir -p "$1"
    tar -c --exclude=__pycache__ --exclude='*.egg-info' edge service models/*/model.json models/*/*.onnx models/*/*.npz \
        packaging docs CHANGELOG.md LICENSE README.md pyproject.toml | tar -x -C "$1"
    mv "$1/packaging/debian" "$1/debian"
    cp packaging/edgecls.service "$1/debian/"
    cat >"$1/debian/changelog" <<END
edgecls ($VERSION) $release; urgency=medium

  * What is new is in changelog.gz, beside this file.

 -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
}

umask 022
make_tools
fetch_wheels
tree=$work/$release-$arch
rm -rf "$tree"
make_source "$tree/edgecls"
say "Building the packages $VERSION for $release on $arch …"
export SOURCE_DATE_EPOCH PYTHON GLIBC LC_ALL=C.UTF-8 TZ=UTC
TOOLS=$PWD/$tools/bin/python
WHEELS=$PWD/$wheels
export TOOLS WHEELS
(
    cd "$tree/edgecls"
    # The tools are asked for above; dpkg would ask for those of the other processor.
    dpkg-buildpackage --build=binary --no-sign --no-check-builddeps --host-arch "$arch" >../build.log 2>&1
) || {
    tail -n 30 "$tree/build.log" >&2
    die "the build failed; all of its output is in $tree/build.log"
}
for package in "$tree"/*.deb; do
    mv "$package" "$out/"
    printf '%s\n' "$out/${package##*/}"
done
