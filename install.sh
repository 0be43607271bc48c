#!/usr/bin/env bash
# Installs edgecls as a service; or sets up what the demo and the tests need, in .venv, and starts them.
# `./install.sh help` says how.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")"

# Not in the lock: which build of torch is the right one (CPU or GPU) depends on the machine.
readonly TORCH=2.13.0
readonly PYTHON=.venv/bin/python
readonly STAMP=.venv/edgecls-setup

usage() {
    cat <<'END'
Usage: sudo ./install.sh [install] [OPTION...]   install edgecls as a service on this device
           --deb FILE...                         these packages; without it they are built here
           --openvino, --no-openvino             with OpenVINO beside ONNX Runtime (default: on x86-64 alone)
           --no-tune                             do not measure which engine is quickest here
           --dry-run                             say what would be done
       sudo ./install.sh uninstall [--purge]     remove it; --purge: with its configuration and data
       ./install.sh demo [ARGUMENT...]           run the bundled clip through the bundled model, print every message
       ./install.sh test [--slow]                run the linters and the tests; --slow: the long tests too
       ./install.sh test [--slow] ARGUMENT...    run only pytest, with these arguments
       ./install.sh help                         print this

demo and test set up .venv on first use. All install the Debian packages that are missing (as root or with sudo).
END
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

wrong_usage() {
    printf 'install.sh: %s; ./install.sh help says what there is.\n' "$*" >&2
    exit 2
}

# --- Debian packages --------------------------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null; }

has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

has_headers() {
    python3 -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# What .venv takes: systemd-python comes as source only, so it needs a compiler and two sets of headers.
# Asked of the python3 on PATH, which need not be Debian's.
missing_for_setup() {
    has_venv || say python3-venv
    has_headers || say python3-dev
    has gcc || say gcc
    # Without the C library's headers gcc compiles nothing; only recommended packages would bring them.
    [[ -e /usr/include/stdlib.h ]] || say libc6-dev
    has pkg-config || say pkg-config
    pkg-config --exists libsystemd 2>/dev/null || say libsystemd-dev
}

missing_for_tests() {
    # Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
    has mosquitto || [[ -x /usr/sbin/mosquitto ]] || say mosquitto
    has mosquitto_sub || say mosquitto-clients
    has jq || say jq         # of an example in docs/
    has strace || say strace # sees what the daemon talks to
    has ffmpeg || say ffmpeg # makes videos, and is a source
    compgen -G "/usr/share/fonts/truetype/droid/*.ttf" >/dev/null || say fonts-droid-fallback # Chinese labels in pictures
    # A real network camera, for Debian's own python3.
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null ||
        printf '%s\n' python3-gi gir1.2-gst-rtsp-server-1.0 # one a line, as all of these
    compgen -G "/usr/lib/*/gstreamer-1.0/libgstapp.so" >/dev/null || say gstreamer1.0-plugins-base
    compgen -G "/usr/lib/*/gstreamer-1.0/libgstrtp.so" >/dev/null || say gstreamer1.0-plugins-good
    compgen -G "/usr/lib/*/gstreamer-1.0/libgstx264.so" >/dev/null || say gstreamer1.0-plugins-ugly
}

missing_for_slow_tests() {
    # The packages: building and checking them, and a Debian to install them into.
    has dh || say debhelper
    has lintian || say lintian
    has chromium || say chromium # looks at the status page
    has reprepro || say reprepro
    has mmdebstrap || say mmdebstrap
    has systemd-nspawn || say systemd-container
    # Whole machines. Debian's kernel is fetched and unpacked by the tests that boot it; it is not installed.
    has qemu-system-aarch64 || say qemu-system-arm
    has cpio || say cpio
    has modprobe || [[ -x /sbin/modprobe ]] || say kmod
    has mke2fs || [[ -x /sbin/mke2fs ]] || say e2fsprogs
    [[ $(uname -m) == x86_64 ]] || return 0
    has qemu-system-x86_64 || say qemu-system-x86
    has qemu-aarch64-static || say qemu-user-static # sets a Debian for arm64 up
    has arch-test || say arch-test
    has busybox || say busybox-static
    has nbdkit || [[ -x /usr/sbin/nbdkit ]] || say nbdkit
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

can_be_root() {
    [[ $EUID -eq 0 ]] || { has sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }
}

apt() {
    # A machine that was just switched on may still be busy with its own updates: wait for the lock.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

# packages NAME... installs these.
packages() {
    [[ $# -gt 0 ]] || return 0
    has apt-get || die "these Debian packages, or what is like them here, are missing: $*"
    can_be_root || die "these Debian packages are missing; install them with: apt-get install --no-install-recommends $*"
    say "Installing Debian packages: $*" >&2
    # A foreign source that is down does no harm if the packages can still be had.
    apt update || say "apt-get update failed; going on with what is known" >&2
    if [[ " $* " == *" mosquitto "* ]]; then
        without_broker "$@"
    else
        apt_install "$@"
    fi
}

# Its chatter matters only when it fails.
apt_install() {
    local out
    out=$(apt -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" 2>&1) || {
        printf '%s\n' "$out" >&2
        die "apt-get could not install: $*"
    }
}

# The tests start brokers of their own, on ports of their own; installing the package must not leave one running.
# Debian starts a new service at once unless policy-rc.d forbids it, and at every boot unless it is disabled.
# A policy that the machine already has is its owner's and stays.
without_broker() {
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    fi
    apt_install "$@"
    if has systemctl; then
        as_root systemctl --quiet disable mosquitto.service 2>/dev/null || true
    elif [[ -x /usr/sbin/update-rc.d ]]; then
        as_root /usr/sbin/update-rc.d mosquitto disable 2>/dev/null || true
    fi
    if [[ -n $(trap -p EXIT) ]]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
}

# --- .venv ------------------------------------------------------------------------------------------------------------

need_python() {
    has python3 || die "python3 is missing: Python 3.10 or newer is needed."
    VERSION=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "Python 3.10 or newer is needed; python3 here is $VERSION."
}

# All that decides what .venv holds, in one word.
fingerprint() {
    { say "$VERSION $TORCH"; cat requirements.lock requirements-dev.lock requirements-torch.lock pyproject.toml; } | sha256sum | cut -d' ' -f1
}

# venv_fits: .venv works, has this Python, was made in this place (its scripts carry the path) and was not left half done.
venv_fits() {
    [[ ! -e $STAMP || $(<"$STAMP") != unfinished ]] &&
        grep -qsF "$PWD/.venv" .venv/bin/activate &&
        [[ $($PYTHON -c 'import sys, pip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$VERSION" ]]
}

# is_set_up PROFILE: the tests' environment serves the demo too.
is_set_up() {
    [[ -e $STAMP ]] || return 1
    local print
    print=$(fingerprint)
    [[ $(<"$STAMP") == "$print test" || $(<"$STAMP") == "$print $1" ]] && venv_fits
}

pip() { $PYTHON -m pip --disable-pip-version-check -qq "$@"; }

# pip_locked LOCK installs exactly what the lock says. The lock is complete, so pip is not to look at dependencies: it
# would miss openvino-telemetry, which is left out on purpose (packaging/lock.sh says why).
# setuptools comes first, because it builds systemd-python; without isolation, so that no unpinned one does.
pip_locked() {
    pip install --no-deps --require-hashes -r <(awk '/^setuptools==/, !/\\$/' "$1")
    pip install --no-deps --require-hashes --no-build-isolation -r "$1"
}

pip_torch() {
    $PYTHON -c 'import sys, importlib.metadata as m; sys.exit(m.version("torch").split("+")[0] != sys.argv[1])' \
        "$TORCH" 2>/dev/null || pip install "torch==$TORCH"
}

# set_up PROFILE makes .venv and the machine fit for it. Nothing is done when they already are.
set_up() {
    local missing=() ready=no
    need_python
    if is_set_up "$1"; then ready=yes; fi
    [[ $ready == yes ]] || mapfile -t missing < <(missing_for_setup)
    [[ $1 == demo ]] || mapfile -t -O "${#missing[@]}" missing < <(missing_for_tests)
    [[ ${SLOW-} != yes ]] || mapfile -t -O "${#missing[@]}" missing < <(missing_for_slow_tests)
    packages "${missing[@]}"
    [[ $ready == yes ]] || make_venv "$1" 9<.
}

# make_venv PROFILE 9<. (one at a time: a pip that outlives its interrupted parent holds the lock as well).
make_venv() {
    flock 9
    if is_set_up "$1"; then return; fi
    has_venv || die "python3 ($(command -v python3)) cannot make virtual environments: it lacks venv or ensurepip."
    has_headers || die "python3 ($(command -v python3)) lacks its C headers (Python.h)."
    say "Setting up .venv (a minute or two, once) …" >&2
    if ! venv_fits; then
        rm -rf .venv
        python3 -m venv .venv
    fi
    say unfinished >"$STAMP" # an interrupted setup may leave half a package behind: the next one starts afresh
    if [[ $1 == demo ]]; then
        pip_locked requirements.lock
    else
        pip_locked requirements-dev.lock
        pip_torch
        pip install --no-deps --require-hashes -r requirements-torch.lock
    fi
    pip install --no-deps --no-build-isolation --editable .
    say "$(fingerprint) $1" >"$STAMP"
}

# --- commands ---------------------------------------------------------------------------------------------------------

demo() {
    set_up demo
    exec $PYTHON packaging/demo.py "$@"
}

# step NAME COMMAND... stops at the first failure.
step() {
    local name=$1
    shift
    say $'\n'"== $name"
    "$@" || {
        say $'\n'"FAILED: $name, after $SECONDS s" >&2
        exit 1
    }
}

run_tests() {
    local args=() selection=(-m "not slow") arg SLOW=no
    for arg in "$@"; do
        if [[ $arg == --slow ]]; then selection=() SLOW=yes; else args+=("$arg"); fi
    done
    set_up test
    # The tests call edgecls, and mosquitto by its name.
    export PATH=$PWD/.venv/bin:$PATH:/usr/sbin
    if [[ ${#args[@]} -eq 0 ]]; then
        step "ruff check" $PYTHON -m ruff check .
        step "ruff format --check" $PYTHON -m ruff format --check .
        step "mypy" $PYTHON -m mypy
    fi
    # Most tests wait more than they work: four at a time take the time of two.
    if [[ ${#args[@]} -eq 0 ]]; then
        step "pytest" $PYTHON -m pytest -n 4 -m "not slow"
        # The slow ones load the machine fully and measure in between: one at a time.
        [[ $SLOW == no ]] || step "pytest, the slow ones" $PYTHON -m pytest -m slow
    else
        step "pytest" $PYTHON -m pytest "${selection[@]}" "${args[@]}"
    fi
    say $'\n'"All passed in $SECONDS s"
}

# shellcheck source=packaging/install-service.sh
case ${1-install} in
    install | uninstall | --[!h]*) source packaging/install-service.sh ;;
esac

case ${1-install} in
    demo) demo "${@:2}" ;;
    test) run_tests "${@:2}" ;;
    install) install_service "${@:2}" ;;
    uninstall) uninstall_service "${@:2}" ;;
    help | -h | --help) usage ;;
    --*) install_service "$@" ;; # without a command it installs
    *)
        usage >&2
        exit 2
        ;;
esac
