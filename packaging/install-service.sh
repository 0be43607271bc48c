# The commands install and uninstall of install.sh, which reads this file and has what is called and not defined here.
# shellcheck shell=bash

readonly PARTS=(edgecls edgecls-openvino edgecls-models)

# --- what this device is ----------------------------------------------------------------------------------------------

# describe_device ROOT: in words; ROOT is the system's root directory.
describe_device() {
    local model=''
    if [[ -r $1/proc/device-tree/model ]]; then model=$(tr -d '\0' <"$1/proc/device-tree/model"); fi
    case $model in
        "Raspberry Pi "[345]*) say "$model" ;;
        "Raspberry Pi "*) say "$model (edgecls is meant for the Raspberry Pi 3, 4 and 5)" ;;
        *Jetson*) say "$model" ;;
        *)
            if [[ -e $1/etc/nv_tegra_release ]]; then
                say "NVIDIA Jetson${model:+ ($model)}"
            elif [[ -n $model ]]; then
                say "$model"
            else
                sed -n 's/^model name[[:space:]]*: //p' "$1/proc/cpuinfo" | head -n 1
            fi
            ;;
    esac
}

is_jetson() { [[ $(describe_device "$1") == *Jetson* ]]; }

# has_ncs2 ROOT: a stick is plugged in, booted or not.
has_ncs2() { grep -qsx 03e7 "$1"/sys/bus/usb/devices/*/idVendor; }

# the_device ROOT says all of it.
the_device() {
    say "Device: $(describe_device "$1"), $(dpkg --print-architecture)," \
        "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$1/etc/os-release")"
    if is_jetson "$1"; then
        say "        The packages run models on its CPU; docs/install.md says what its GPU takes."
    fi
    if has_ncs2 "$1"; then
        say "        An NCS2 is plugged in. It takes an OpenVINO of its own: docs/ncs2.md."
    fi
}

need_debian() {
    has dpkg && has apt-get && return
    die "this is neither Debian nor Ubuntu, so edgecls cannot be a package here: ./install.sh demo, then" \
        ".venv/bin/edgecls run --config FILE."
}

# --- root -------------------------------------------------------------------------------------------------------------

# need_root COMMAND ARGUMENT... starts install.sh again as root, once.
need_root() {
    [[ $EUID -ne 0 ]] || return 0
    can_be_root || die "$1 needs root, and sudo is not available to this user: run ./install.sh $* as root." \
        "Nothing was changed."
    exec sudo ./install.sh "$@"
}

# apt_quietly ARGUMENT...: its chatter matters only when it fails. What the site has edited stays. What interrupts us is
# put off until apt-get has ended, which sees nothing of it, so that dpkg is never stopped between two packages.
apt_quietly() {
    local log interrupted=no status=0
    log=$(mktemp)
    trap 'interrupted=yes' INT TERM HUP
    setsid --wait env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" \
        >"$log" 2>&1 || status=$?
    trap - INT TERM HUP
    [[ $status -eq 0 ]] || cat "$log" >&2
    rm -f "$log"
    [[ $interrupted == no ]] || die "interrupted; what apt-get had begun is done. Run the same command again."
    [[ $status -eq 0 ]] || die "apt-get failed; see above."
}

# --- install ----------------------------------------------------------------------------------------------------------

missing_for_build() {
    has dh || say debhelper
    has_venv || say python3-venv
}

# build_packages sets DEBS. Whom the checkout belongs to builds them, so that no file of root's is left in it.
build_packages() {
    local owner missing out=$PWD/build/deb/here
    local build=(packaging/build-deb.sh --out "$out")
    mapfile -t missing < <(missing_for_build)
    packages "${missing[@]}"
    owner=$(stat -c %U .)
    [[ $owner == root ]] || build=(runuser -u "$owner" -- "${build[@]}")
    rm -rf "$out"
    # They are for this device alone: quickly packed is better than small.
    DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1 "${build[@]}" >/dev/null || die "the build failed; see above."
    DEBS=("$out/edgecls_"*"_$(dpkg --print-architecture).deb" "$out/edgecls-models_"*_all.deb)
    if [[ $OPENVINO == yes ]]; then DEBS+=("$out/edgecls-openvino_"*"_$(dpkg --print-architecture).deb"); fi
}

# start_service: the package has enabled and started it; whoever had stopped or disabled it before wants it again now.
start_service() {
    if [[ ! -d /run/systemd/system ]]; then
        say "systemd does not run here: the service starts with the next boot of a system that has it."
        return
    fi
    systemctl --quiet enable edgecls.service
    systemctl restart edgecls.service || say "The service does not start yet: journalctl -u edgecls says why."
}

# tune: as the service's own user, with what its configuration names. Not again: what was found stays until somebody
# asks for more, and a line at work is not slowed down.
tune() {
    if [[ -e /var/lib/edgecls/tuning.json ]]; then
        say "The engine stays as it was tuned; \`sudo -u edgecls edgecls tune\` does it again."
    elif ! edgecls check-config >/dev/null 2>&1; then
        say "Not tuned: /etc/edgecls.yaml has mistakes. \`edgecls check-config\` names them."
    else
        say "Finding the quickest way to run the model here (a minute) …"
        if runuser -u edgecls -- edgecls tune; then
            [[ ! -d /run/systemd/system ]] || systemctl try-restart edgecls.service
        else
            say "Not tuned; edgecls works without. \`sudo -u edgecls edgecls tune\` tries again."
        fi
    fi
}

# examine: what this device has and lacks. A camera that is not plugged in yet does not undo the installation; packages
# of before that command came lack it.
examine() {
    ! edgecls doctor --help >/dev/null 2>&1 || edgecls doctor || true
}

say_what_next() {
    cat <<'END'

Next: name your broker and your camera (ls /dev/v4l/by-id) in /etc/edgecls.yaml, then
  sudo edgecls check-config             names every mistake with its line
  sudo systemctl restart edgecls        takes the new settings over
  sudo edgecls watch                    what the lines say, live
  sudo edgecls doctor                   what this device still lacks
  journalctl -u edgecls                 the log
END
}

install_service() {
    local dry=no tuning=yes arguments=("$@")
    DEBS=() OPENVINO=no
    need_debian
    [[ $(dpkg --print-architecture) != amd64 ]] || OPENVINO=yes
    while [[ $# -gt 0 ]]; do
        case $1 in
            --deb)
                shift
                while [[ $# -gt 0 && $1 != -* ]]; do
                    [[ -f $1 ]] || die "--deb: $1 is not a file; name the .deb files that packaging/build-deb.sh made."
                    DEBS+=("$(realpath "$1")")
                    shift
                done
                [[ ${#DEBS[@]} -gt 0 ]] || wrong_usage "--deb names no file"
                continue
                ;;
            --dry-run) dry=yes ;;
            --no-tune) tuning=no ;;
            --openvino) OPENVINO=yes ;;
            --no-openvino) OPENVINO=no ;;
            *) wrong_usage "install does not know $1" ;;
        esac
        shift
    done
    the_device ""
    case $(dpkg --print-architecture) in
        amd64 | arm64) ;;
        *) die "there are no engines for $(dpkg --print-architecture): edgecls needs a 64-bit system, amd64 or arm64." ;;
    esac
    if [[ $dry == yes ]]; then
        would_install "$tuning"
        return
    fi
    need_root install "${arguments[@]}"
    [[ ${#DEBS[@]} -gt 0 ]] || build_packages
    say "Installing ${DEBS[*]##*/} …"
    apt update || say "apt-get update failed; going on with what is known" >&2
    # The same version again, when it was built anew, and an older one, when it is named.
    apt_quietly install --no-install-recommends --reinstall --allow-downgrades "${DEBS[@]}"
    start_service
    [[ $tuning == no ]] || tune
    examine
    say_what_next
}

# would_install TUNING: what install would do.
would_install() {
    local missing
    if [[ ${#DEBS[@]} -gt 0 ]]; then
        say "Would install: ${DEBS[*]}"
    else
        mapfile -t missing < <(missing_for_build)
        [[ ${#missing[@]} -eq 0 ]] || say "Would install, for the build: ${missing[*]}"
        say "Would build and install: edgecls edgecls-models$([[ $OPENVINO == no ]] || say ' edgecls-openvino')"
    fi
    say "Would enable and start edgecls.service$([[ $1 == no ]] || say ', and tune the engine')"
}

# --- uninstall --------------------------------------------------------------------------------------------------------

# there STATE...: the packages of ours that are in one of dpkg's states, such as ii (installed) and rc (removed).
there() {
    local part state
    for part in "${PARTS[@]}"; do
        state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$part" 2>/dev/null) || continue
        [[ " $* " != *" ${state% } "* ]] || say "$part"
    done
}

uninstall_service() {
    local how=remove dry=no found arguments=("$@")
    while [[ $# -gt 0 ]]; do
        case $1 in
            --purge) how=purge ;;
            --dry-run) dry=yes ;;
            *) wrong_usage "uninstall does not know $1" ;;
        esac
        shift
    done
    need_debian
    if [[ $how == purge ]]; then
        mapfile -t found < <(there ii iF iU iH iW rc)
    else
        mapfile -t found < <(there ii iF iU iH iW)
    fi
    if [[ ${#found[@]} -eq 0 ]]; then
        say "edgecls is not installed."
        return
    fi
    if [[ $dry == yes ]]; then
        say "Would $how: ${found[*]}"
        return
    fi
    need_root uninstall "${arguments[@]}"
    apt_quietly "$how" "${found[@]}"
    if [[ $how == purge ]]; then
        say "Removed ${found[*]}, /etc/edgecls.yaml, /etc/edgecls, /var/lib/edgecls and /var/cache/edgecls."
    else
        say "Removed ${found[*]}. /etc/edgecls.yaml and /var/lib/edgecls stay; uninstall --purge removes them, too."
    fi
}
