# shellcheck shell=bash
# A newer package: the daemon runs on as the new one, with all it knew.

if [ ! -e /rig/pinwire.deb ]; then
    echo "# no package here: nothing to upgrade"
else
    fresh
    key=$(cat "$KEY") pid=$(main_pid) kept=$(sha256sum <"$CONFIG")
    dpkg-deb --raw-extract /rig/pinwire.deb /tmp/newer
    version=$(dpkg-query --show --showformat='${Version}' pinwire)
    sed -i "s/^Version: .*/Version: $version+newer/" /tmp/newer/DEBIAN/control
    dpkg-deb -Zgzip -z1 --root-owner-group --build /tmp/newer /tmp/newer.deb >/dev/null
    forget_lines
    check "an upgrade" dpkg --install /tmp/newer.deb
    same "is one" "$version+newer" "$(dpkg-query --show --showformat='${Version}' pinwire)"
    check "the daemon runs, anew" within "$LIMIT" reborn "$pid"
    check "its outputs were safe meanwhile" safe
    same "and are set again" "1 0" "$(level 17) $(level 22)"
    same "the configuration is as it was edited" "$kept" "$(sha256sum <"$CONFIG")"
    same "the key is the same" "$key" "$(cat "$KEY")"
    check "and opens" call READ_MEMORY
    systemctl disable --quiet pinwire
    check "what was disabled" dpkg --install /tmp/newer.deb
    same "stays so" disabled "$(systemctl is-enabled pinwire)"
    systemctl enable --quiet pinwire
fi
