# shellcheck shell=bash
# Removed, it stands still and keeps what it knew; purged, nothing of it is left.

if [ ! -e /rig/pinwire.deb ]; then
    echo "# no package here: nothing to remove"
else
    fresh
    forget_lines
    check "a removal" dpkg --remove pinwire
    refused "ends the daemon" pgrep -x pinwire
    check "safely" safe
    check "and keeps what it knew" test -s "$KEY" -a -s "$CONFIG"
    check "a new installation" dpkg --install /rig/pinwire.deb
    check "knows it again" within "$LIMIT" call READ_MEMORY
    check "a purge" dpkg --purge pinwire
    refused "ends the daemon as well" pgrep -x pinwire
    same "nothing is left" "" "$(find / -xdev -iname '*pinwire*' -not -path '/rig*' -not -path '/proc/*' -not -path '/run/*' -not -path '/tmp/*' -not -path '/var/log/*' -not -path '/var/lib/dpkg/*' 2>/dev/null)"
    check "systemd knows nothing of it" eval '! systemctl list-unit-files --no-legend | grep pinwire'
fi
