# What the scripts of cross/ share: where things are kept, errors in plain words, the targets, and apt with state of
# its own. Sourced by bash scripts; it does nothing by itself.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Compilers and emulators are large and do not belong into the work tree.
cache=${PINWIRE_CROSS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pinwire-cross}

# The targets that are tested and released, the one most likely to break first.
# shellcheck disable=SC2034
readonly TARGETS=(arm-unknown-linux-musleabihf armv7-unknown-linux-musleabihf aarch64-unknown-linux-musl)
# The oldest C library that a -gnu build runs with: Debian 11's, Raspberry Pi OS "bullseye".
readonly GLIBC=2.31
# How large a release for a Pi Zero may be, with every feature: 4 MiB.
# shellcheck disable=SC2034
readonly ZERO_BYTES=4194304

say() { echo "${0##*/}: $*" >&2; }

die() {
    say "$@"
    exit 1
}

# tools COMMAND…: all of them are there, or the end.
tools() {
    local tool missing=()
    for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    if [ "${#missing[@]}" -gt 0 ]; then die "missing on this machine: ${missing[*]} (see cross/README.md)"; fi
}

# known TARGET: one of ours, or the end.
known() {
    case ${1:-} in
    arm-unknown-linux-musleabihf | armv7-unknown-linux-musleabihf | aarch64-unknown-linux-musl) ;;
    arm-unknown-linux-gnueabihf | armv7-unknown-linux-gnueabihf | aarch64-unknown-linux-gnu) ;;
    x86_64-unknown-linux-musl | x86_64-unknown-linux-gnu) ;;
    *) die "no target '${1:-}'; there are ${TARGETS[*]}, the same with gnu instead of musl, and x86_64" ;;
    esac
}

# logged WHAT SECONDS COMMAND…: with a limit and without a word. Should it fail, its last lines and WHAT are told,
# and it returns the status. Wants $log, and that $running is ended by whoever is ended meanwhile.
running=
logged() {
    local what=$1 limit=$2 status=0
    shift 2
    # In the background, so that a signal to us is acted on at once.
    timeout --kill-after=10 "$limit" "$@" >>"${log:?}" 2>&1 </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    if [ "$status" -eq 0 ]; then return 0; fi
    tail -n 15 "$log" >&2
    if [ "$status" -eq 124 ]; then say "$what: not done within $limit s"; else say "$what failed, status $status"; fi
    return "$status"
}

# For the caller's trap on EXIT: ends what is running and removes these files and directories.
clean_up() {
    trap - EXIT
    if [ -n "$running" ] && kill "$running" 2>/dev/null; then wait "$running" || true; fi
    rm -rf "$@"
}

# One at a time fills the cache: a second caller waits, and looks again then. Who finds everything made need not ask.
locked=
lock_cache() {
    if [ -n "$locked" ]; then return; fi
    locked=yes
    tools flock
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    if ! flock --nonblock 9; then
        say "another run is filling the cache, waiting for it"
        flock --timeout 3600 9 || die "the other run did not end within an hour ($cache/lock)"
    fi
}

# private_apt DIRECTORY ARCHITECTURE: apt-get and apt-cache with their lists and downloads in that directory and for
# that architecture. They ask the archives of this machine's own sources; its own state stays as it is, and no root is
# needed.
private_apt() {
    local directory=$1 architecture=$2
    command -v apt-get >/dev/null || return 1
    mkdir -p "$directory"/{lists,archives}/partial
    # What is installed here counts as there, so that only the rest is downloaded; of a foreign architecture nothing is.
    if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
        cp /var/lib/dpkg/status "$directory/status"
    else
        : >"$directory/status"
    fi
    # The sandbox user could not write into a directory of root's; the lock of dpkg is for those who install.
    cat >"$directory/apt.conf" <<CONF
Dir::State "$directory";
Dir::State::status "$directory/status";
Dir::State::Lists "$directory/lists";
Dir::Cache "$directory";
APT::Architecture "$architecture";
#clear APT::Architectures;
APT::Architectures "$architecture";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "1";
CONF
    export APT_CONFIG=$directory/apt.conf
}

# candidate PACKAGE: the version that apt would take; nothing when it knows none.
candidate() {
    apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}
