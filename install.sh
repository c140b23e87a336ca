#!/bin/sh
# Installs a plain binary as a service, without a package: the binary, its units, user, udev rules and a configuration.
#
#   sudo ./install.sh target/arm-unknown-linux-musleabihf/release/pinwire
#   sudo ./install.sh                 the binary beside this script, as packaging/tarball puts it there
#   sudo ./install.sh --uninstall     takes it away again, and leaves the configuration and the state
#   sudo ./install.sh --purge         takes those away, too, and the user
#
# Options: --prefix DIR (default /usr/local), --no-start (neither enable nor start), --manual DIR (pages and completions,
# as `cargo run --example manual -- DIR` writes them; default: beside this script, if they are there).
# With DESTDIR in the environment, files are laid out below it and nothing else is touched: that makes the packages.
#
# Running it again is how to upgrade: files are replaced, a configuration that is there stays, and the service is
# restarted if it ran. Without systemd only the binary and its manual are installed. Any POSIX shell will do.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR-}
prefix=/usr/local
do=install
start=yes
manual=
binary=

say() { echo "install.sh: $*"; }

die() {
    echo "install.sh: $*" >&2
    exit 1
}

usage() { die "usage: install.sh [--prefix DIR] [--manual DIR] [--no-start] [BINARY] | --uninstall | --purge"; }

while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --manual)
            [ $# -ge 2 ] || usage
            case $1 in --prefix) prefix=$2 ;; *) manual=$2 ;; esac
            shift
            ;;
        --no-start) start=no ;;
        --uninstall) do=uninstall ;;
        --purge) do=purge ;;
        -*) usage ;;
        *)
            [ -z "$binary" ] || usage
            binary=$1
            ;;
    esac
    shift
done
case $prefix in
    /*) ;;
    *) die "--prefix '$prefix' must be an absolute path" ;;
esac
prefix=${prefix%/}

# Where systemd, udev and zsh look: udev learned of /usr/local late, and Debian's zsh has two places.
lib=$prefix/lib
case $prefix in
    /usr)
        rules=$lib/udev/rules.d
        zsh=/usr/share/zsh/vendor-completions
        ;;
    *)
        rules=/etc/udev/rules.d
        zsh=$prefix/share/zsh/site-functions
        ;;
esac

# Whether this is the machine itself and not a directory, and whether systemd runs it.
ours() { [ -z "$root" ]; }
with_systemd() { ! ours || command -v systemctl >/dev/null 2>&1; }
booted() { ours && [ -d /run/systemd/system ]; }

ours && [ "$(id -u)" != 0 ] && die "only root can install for everybody: use sudo, or DESTDIR and --prefix"
if ours && dpkg-query -W -f '${db:Status-Status}' pinwire 2>/dev/null | grep -q '^installed'; then
    die "the package 'pinwire' is installed: use apt for that, or remove it first"
fi

# put MODE FILE PLACE: copies it below the root, in one step: what runs is not written to.
put() {
    mkdir -p "$root$(dirname "$3")"
    cp "$2" "$root$3.new"
    chmod "$1" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
}

# unit FILE PLACE: the same, with the path of the binary as it is here.
unit() {
    mkdir -p "$root$(dirname "$2")"
    sed "s|/usr/bin/pinwire|$prefix/bin/pinwire|" "$1" >"$root$2.new"
    chmod 644 "$root$2.new"
    mv -f "$root$2.new" "$root$2"
}

# Every file that is installed, but for the configuration: what --uninstall takes away.
files() {
    echo "$prefix/bin/pinwire"
    for file in "$here"/systemd/*.service "$here"/systemd/*.socket; do echo "$lib/systemd/system/${file##*/}"; done
    echo "$lib/sysusers.d/pinwire.conf"
    echo "$lib/tmpfiles.d/pinwire.conf"
    echo "$rules/60-pinwire.rules"
    for file in "$here"/systemd/drop-ins/*.conf; do echo "$prefix/share/pinwire/drop-ins/${file##*/}"; done
    for file in "$root$prefix"/share/man/man[15]/pinwire*.[15]; do echo "${file#"$root"}"; done
    echo "$prefix/share/bash-completion/completions/pinwire"
    echo "$zsh/_pinwire"
    echo "$prefix/share/fish/vendor_completions.d/pinwire.fish"
}

install_manual() {
    for dir in "$manual" "$here"; do
        if [ -n "$dir" ] && [ -f "$dir/man/pinwire.1" ]; then
            for page in "$dir"/man/*.[15]; do put 644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"; done
            put 644 "$dir/completions/bash/pinwire" "$prefix/share/bash-completion/completions/pinwire"
            put 644 "$dir/completions/zsh/_pinwire" "$zsh/_pinwire"
            put 644 "$dir/completions/fish/pinwire.fish" "$prefix/share/fish/vendor_completions.d/pinwire.fish"
            say "manual pages and completions: $prefix/share"
            return
        fi
        [ -z "$dir" ] || [ "$dir" != "$manual" ] || die "there is no '$manual/man/pinwire.1'"
    done
}

install_configuration() {
    mkdir -p "$root/etc/pinwire"
    for which in serve agent; do
        case $which in serve) name=pinwire.toml ;; *) name=agent.toml ;; esac
        if [ -e "$root/etc/pinwire/$name" ]; then
            say "configuration: /etc/pinwire/$name is there and stays"
        else
            "$here/packaging/config" "$which" >"$root/etc/pinwire/$name.new"
            chmod 644 "$root/etc/pinwire/$name.new"
            mv "$root/etc/pinwire/$name.new" "$root/etc/pinwire/$name"
            say "configuration: /etc/pinwire/$name"
        fi
    done
}

# What package managers do after the files are there.
settle() {
    systemd-sysusers "$lib/sysusers.d/pinwire.conf"
    systemd-tmpfiles --create "$lib/tmpfiles.d/pinwire.conf"
    say "user: pinwire, in groups gpio and video"
    if booted; then
        systemctl daemon-reload
        if command -v udevadm >/dev/null 2>&1; then
            udevadm control --reload
            # A machine may have none of these.
            udevadm trigger --action=change --subsystem-match=gpio --subsystem-match=pwm || true
        fi
    fi
    if [ "$start" = no ]; then
        say "not enabled, not started: systemctl enable --now pinwire"
    elif [ "$upgrade" = yes ]; then
        # Whichever of the two runs; neither, where the operator has stopped it.
        if booted; then systemctl try-restart pinwire.service pinwire-agent.service; fi
        say "upgraded; what ran was restarted"
    else
        systemctl enable --quiet pinwire.service
        if booted; then
            systemctl start pinwire.service || die "it does not start; why: journalctl -u pinwire -n 20"
            say "enabled and started; the first key: cat /var/lib/pinwire/admin.key"
        else
            say "enabled; systemd does not run here, so it starts with the next boot"
        fi
    fi
}

install_all() {
    if [ -z "$binary" ] && [ -f "$here/pinwire" ]; then binary=$here/pinwire; fi
    [ -n "$binary" ] || usage
    [ -f "$binary" ] || die "there is no '$binary': build it with cross/build TARGET"
    if ours && ! "$binary" --version >/dev/null 2>&1; then
        die "'$binary' does not run on this machine ($(uname -m)): a Pi Zero or 1 needs arm-unknown-linux-musleabihf"
    fi
    upgrade=no
    if [ -e "$root$prefix/bin/pinwire" ]; then upgrade=yes; fi
    put 755 "$binary" "$prefix/bin/pinwire"
    say "binary: $prefix/bin/pinwire"
    install_manual
    if ! with_systemd; then
        say "there is no systemd here: only the binary was installed; start '$prefix/bin/pinwire serve' by what you have"
        return
    fi
    for file in "$here"/systemd/*.service "$here"/systemd/*.socket; do unit "$file" "$lib/systemd/system/${file##*/}"; done
    for file in "$here"/systemd/drop-ins/*.conf; do put 644 "$file" "$prefix/share/pinwire/drop-ins/${file##*/}"; done
    put 644 "$here/systemd/sysusers.d/pinwire.conf" "$lib/sysusers.d/pinwire.conf"
    put 644 "$here/systemd/tmpfiles.d/pinwire.conf" "$lib/tmpfiles.d/pinwire.conf"
    put 644 "$here/systemd/udev/60-pinwire.rules" "$rules/60-pinwire.rules"
    say "units: $lib/systemd/system; drop-ins to copy: $prefix/share/pinwire/drop-ins; udev: $rules"
    install_configuration
    if ours; then settle; fi
}

uninstall() {
    if ours && with_systemd; then
        for name in pinwire.socket pinwire.service pinwire-agent.service; do
            if [ -e "$lib/systemd/system/$name" ]; then
                # Stopping drives the safe states.
                if booted; then systemctl stop "$name"; fi
                systemctl disable --quiet "$name"
            fi
        done
    fi
    files | while read -r file; do rm -f "$root$file"; done
    rmdir "$root$prefix/share/pinwire/drop-ins" "$root$prefix/share/pinwire" 2>/dev/null || true
    if booted; then systemctl daemon-reload; fi
}

purge() {
    rm -rf "$root/etc/pinwire" "$root/var/lib/pinwire"
    # The groups gpio and video are others' as well.
    if ours && id pinwire >/dev/null 2>&1; then userdel pinwire; fi
    say "removed: configuration, state, keys and user"
}

case $do in
    install) install_all ;;
    uninstall)
        uninstall
        say "removed; /etc/pinwire and /var/lib/pinwire are kept, --purge removes those as well"
        ;;
    purge)
        uninstall
        purge
        ;;
esac
