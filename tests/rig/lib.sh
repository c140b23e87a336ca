# What the rig's scripts share: where things are kept, errors in plain words, and apt with lists of its own.
# Sourced by bash scripts; it does nothing by itself.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for those who source this
rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Kernels are large, slow to make and under another licence: they stay out of the work tree.
# shellcheck disable=SC2034
cache=${PINWIRE_RIG_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pinwire-rig}

say() { echo "${0##*/}: $*" >&2; }

die() {
    say "$@"
    exit 1
}

# tools COMMAND…: all of them are there, or the end.
tools() {
    local tool missing=()
    for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    if [ "${#missing[@]}" -gt 0 ]; then die "missing on this machine: ${missing[*]} (see tests/rig/README.md)"; fi
}

# logged SECONDS COMMAND…: with a limit and without a word, unless it fails. Wants $log, and that $running is ended
# by whoever is ended meanwhile.
running=
logged() {
    local limit=$1 status=0
    shift
    # In the background, so that a signal to us is acted on at once.
    timeout --kill-after=10 "$limit" "$@" >>"${log:?}" 2>&1 </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    if [ "$status" -eq 0 ]; then return 0; fi
    tail -n 30 "$log" >&2
    if [ "$status" -eq 124 ]; then die "not done within $limit s: $*"; fi
    die "failed with status $status: $*"
}

# For the caller's trap on EXIT: ends what is running and removes this directory.
clean_up() {
    trap - EXIT
    if [ -n "$running" ] && kill "$running" 2>/dev/null; then wait "$running" || true; fi
    rm -rf "$1"
}

# private_apt DIRECTORY SUITE…: apt with its lists and downloads in that directory, so that the machine's own stay
# as they are. It asks the archive that the machine itself is installed from, for these suites of it.
private_apt() {
    local directory=$1 codename archive keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    shift
    tools apt-get apt-cache dpkg dpkg-deb
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt expands them
    archive=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$codename" '$2 == suite && $3 == "main" && !found { print $1; found = 1 }')
    [ -n "$archive" ] || die "no archive for Debian '$codename' in this machine's apt sources"
    mkdir -p "$directory"/{lists,archives}/partial "$directory"/{sources,preferences}
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: amd64\n' "$archive" "$*"
        if [ -e "$keyring" ]; then echo "Signed-By: $keyring"; fi
    } >"$directory/sources/rig.sources"
    cp /var/lib/dpkg/status "$directory/status"
    # The sandbox user could not write into a directory of root's.
    cat >"$directory/apt.conf" <<CONF
Dir::State "$directory";
Dir::State::status "$directory/status";
Dir::State::Lists "$directory/lists";
Dir::Cache "$directory";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$directory/sources";
Dir::Etc::PreferencesParts "$directory/preferences";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
    export APT_CONFIG=$directory/apt.conf
    # A suite may be missing from a mirror; what counts is whether the package is found, and the caller asks that.
    logged 300 sh -c 'apt-get -q update || echo "apt-get update had errors"'
}
