#!/usr/bin/env bash
# Puts packages into a signed apt repository. `packaging/build-repo.sh --help` says how.
set -euo pipefail

usage() {
    cat <<'END'
Usage: packaging/build-repo.sh --key KEY [--out DIR] PACKAGE.deb...

Adds packages that packaging/build-deb.sh made to an apt repository, which is made if it is not there, in dist/repo or
DIR. Each goes into the suite of its release: bookworm, trixie, jammy or noble; a version takes the place of the one
before. All is signed with KEY, a key of gpg's that signs without asking; DIR/edgecls.gpg is its public half, for the
devices. DIR is plain files: any web server hands them out.
END
}

die() {
    printf 'build-repo.sh: %s\n' "$*" >&2
    exit 1
}

# suite_of FILE: by what build-deb.sh puts at the end of a version.
suite_of() {
    local version
    version=$(dpkg-deb --field "$1" Version) || die "$1 is not a Debian package."
    case $version in
        *~deb12u*) printf bookworm ;;
        *~deb13u*) printf trixie ;;
        *~ubuntu22.04.*) printf jammy ;;
        *~ubuntu24.04.*) printf noble ;;
        *) die "$1 has version $version, which names no release: take packages that packaging/build-deb.sh made." ;;
    esac
}

# describe KEY: the suites, as reprepro reads them.
describe() {
    local suite
    for suite in bookworm trixie jammy noble; do
        cat <<END
Origin: edgecls
Label: edgecls
Codename: $suite
Architectures: amd64 arm64
Components: main
Description: edge inspection runtime, for $suite
SignWith: $1

END
    done
}

key='' out=dist/repo debs=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --key | --out)
            [[ $# -gt 1 ]] || die "$1 needs a value."
            if [[ $1 == --key ]]; then key=$2; else out=$2; fi
            shift
            ;;
        -h | --help)
            usage
            exit
            ;;
        -*)
            usage >&2
            exit 2
            ;;
        *) debs+=("$1") ;;
    esac
    shift
done
if [[ -z $key || ${#debs[@]} -eq 0 ]]; then
    usage >&2
    exit 2
fi
for tool in reprepro gpg dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool is missing; install it with: apt-get install reprepro gnupg"
done
fingerprint=$(gpg --batch --with-colons --list-secret-keys "$key" 2>/dev/null | sed -n '/^fpr:/{s/[^0-9A-F]//gp;q}')
[[ -n $fingerprint ]] || die "gpg has no secret key $key; make one with:" \
    "gpg --quick-generate-key 'edgecls packages' ed25519 sign never"
suites=()
for deb in "${debs[@]}"; do suites+=("$(suite_of "$deb")"); done

mkdir -p "$out"
out=$(cd "$out" && pwd)
state=$out/.reprepro # what reprepro remembers; of no use to devices, and no secret
mkdir -p "$state/conf"
describe "$fingerprint" >"$state/conf/distributions"
for n in "${!debs[@]}"; do
    reprepro --silent --basedir "$state" --outdir "$out" includedeb "${suites[n]}" "${debs[n]}" ||
        die "${debs[n]} was not added; see above. Other bytes need a higher version."
done
# All suites are there and signed, those without packages too, and again when the key is another one.
reprepro --silent --basedir "$state" --outdir "$out" export
gpg --batch --export "$fingerprint" >"$out/edgecls.gpg"
for suite in bookworm trixie jammy noble; do reprepro --basedir "$state" --outdir "$out" list "$suite"; done
