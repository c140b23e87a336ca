# shellcheck shell=bash
# The package brings all that the service needs, and starts it; a first key is there for its owner alone.

if [ -e /rig/pinwire.deb ]; then
    check "the package installs" dpkg --install /rig/pinwire.deb
else
    check "it installs without a package" /rig/install.sh --prefix /usr /rig/pinwire
fi

same "it has a user of its own, who reaches pins and firmware" "gpio pinwire video " "$(id -Gn pinwire | tr ' ' '\n' | sort | tr '\n' ' ')"
same "nobody logs in as that" /usr/sbin/nologin "$(getent passwd pinwire | cut -d: -f7)"
same "its state is its own" "700 pinwire:pinwire" "$(stat -c '%a %U:%G' /var/lib/pinwire)"
udevadm settle --timeout=60
same "the pins are group gpio's" "660 root:gpio" "$(stat -c '%a %U:%G' /dev/gpiochip0)"
same "the service starts with the machine" enabled "$(systemctl is-enabled pinwire.service)"
check "it runs" within "$LIMIT" active
same "under its own user" pinwire "$(ps -o user= -p "$(main_pid)")"
check "the port answers" healthy
same "a first key is there, for its owner alone" "600 pinwire:pinwire" "$(stat -c '%a %U:%G' "$KEY")"
check "the journal says where" said "$KEY"
refused "and not what it is" said "$(tail -c 20 "$KEY")"
check "the sockets of the socket unit are not taken by it" down pinwire.socket
check "the configuration as installed is good" pinwire check-config --config "$CONFIG"

# From here on, what the checks need: two outputs with opposite safe states, an input, and threads that hang on request.
set_key debug_actions true
cat >>"$CONFIG" <<'TOML'

[gpio.pins.relay]
pin = 17
mode = "output"
initial = "high"
safe = "low"

[gpio.pins.valve]
pin = 22
mode = "output"
initial = "low"
safe = "high"

[gpio.pins.door]
pin = 27
mode = "input"
TOML
