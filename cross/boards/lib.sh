# What the scripts about emulated boards share, on top of cross/lib.sh: apt for Debian 12 whatever this machine is,
# and one at a time. Sourced by bash scripts; it does nothing by itself.
# shellcheck shell=bash
# shellcheck source=cross/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# lock_for NAME: as lock_cache, but only for those who make the same thing.
lock_for() {
    tools flock
    mkdir -p "$cache"
    exec 8>"$cache/$1.lock"
    flock --timeout 1800 8 || die "another run has been making it for half an hour ($cache/$1.lock)"
}

# debian_apt DIRECTORY ARCHITECTURE SUITE…: as private_apt, with these suites of the archive this machine is installed
# from, also where its own sources do not name them.
debian_apt() {
    local directory=$1 architecture=$2 archive keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    shift 2
    # shellcheck disable=SC2016 # apt expands them
    archive=$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "main" && !found { print $1; found = 1 }')
    [ -n "$archive" ] || die "no archive of Debian's in this machine's apt sources"
    private_apt "$directory" "$architecture" || die "apt is missing"
    mkdir -p "$directory"/{sources,preferences}
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\n' "$archive" "$*" "$architecture"
        if [ -e "$keyring" ]; then echo "Signed-By: $keyring"; fi
    } >"$directory/sources/debian.sources"
    cat >>"$directory/apt.conf" <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$directory/sources";
Dir::Etc::PreferencesParts "$directory/preferences";
CONF
    # A suite may be missing from a mirror; what counts is whether the package is found, and the caller asks that.
    logged "apt-get update" 300 sh -c 'apt-get -q update || echo "apt-get update had errors"'
}
