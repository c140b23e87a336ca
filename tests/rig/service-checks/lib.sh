# What the checks of the service share: verdicts, waiting with a limit, the simulated chip, the daemon's doors.
# Sourced by `run`, inside the guest.
# shellcheck shell=bash

readonly KEY=/var/lib/pinwire/admin.key CONFIG=/etc/pinwire/pinwire.toml
# Seconds until something that should be is called missing. A loaded machine is slow in here.
readonly LIMIT=30
passed=0 failed=0

# verdict STATUS NAME [WORD…]: a line for one check.
verdict() {
    local status=$1 name=$2
    shift 2
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok $((passed + failed)) - $name${*:+ ($*)}"
    else
        failed=$((failed + 1))
        echo "not ok $((passed + failed)) - $name${*:+ ($*)}"
    fi
}

# check NAME COMMAND…: it succeeds. What it says is shown where it does not.
check() {
    local name=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    verdict "$status" "$name"
    if [ "$status" -ne 0 ]; then sed 's/^/    /' <<<"$*: status $status${said:+, said:}"$'\n'"$said"; fi
    return 0
}

# refused NAME COMMAND…: it fails.
refused() {
    local name=$1
    shift
    check "$name" not "$@"
}
not() { ! "$@"; }

# same NAME WANTED FOUND
same() {
    local status=0
    [ "$2" = "$3" ] || status=1
    verdict "$status" "$1"
    if [ "$status" -ne 0 ]; then printf '    wanted: %s\n    found:  %s\n' "$2" "$3"; fi
    return 0
}

# within SECONDS COMMAND…: until it succeeds. The clock is that of the guest, which may be virtual.
within() {
    local until=$((EPOCHSECONDS + $1)) pause=0.1 looked=0
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$EPOCHSECONDS" -ge "$until" ]; then return 1; fi
        # Looking is what costs in here, not waiting.
        sleep "$pause"
        looked=$((looked + 1))
        if [ "$looked" -ge 10 ]; then pause=2; else pause=0.5; fi
    done
}
# In thousandths, for what is told.
moment() { echo $((${EPOCHREALTIME/./} / 1000)); }

# about UNIT PROPERTY
about() { systemctl show --property "$2" --value "$1"; }
main_pid() { about "${1:-pinwire}" MainPID; }
active() { [ "$(about "${1:-pinwire}" ActiveState)" = active ]; }
failed() { [ "$(about "${1:-pinwire}" ActiveState)" = failed ]; }
down() { [[ "$(about "${1:-pinwire}" ActiveState)" =~ ^(inactive|failed)$ ]]; }
restarts() { about pinwire NRestarts; }
# Another life than the one with this process. Asked at once, because a process may end between two questions.
reborn() {
    local found
    found=$(systemctl show --property=ActiveState,MainPID "${2:-pinwire}")
    [[ "$found" == *ActiveState=active* && "$found" != *MainPID=0* && ! "$found"$'\n' == *"MainPID=$1"$'\n'* ]]
}

# said PATTERN [OPTION…]: the daemon's journal of this boot has it.
said() {
    local pattern=$1
    shift
    journalctl --sync
    journalctl --unit=pinwire --output=cat --no-pager "$@" | grep -qE -- "$pattern"
}
# now: a place in the journal, for --cursor. With --after-cursor journalctl leaves out the first line that matches, where
# the place itself does not; so the place is a line of ours.
now() {
    echo here | systemd-cat --identifier=rig-checks
    journalctl --sync && journalctl --lines=0 --show-cursor --no-pager | sed -n 's/^-- cursor: //p'
}

# The chip: what a Raspberry Pi calls its own, so that nothing has to be configured.
readonly SIM=/sys/kernel/config/gpio-sim/pi
make_chip() {
    mkdir -p "$SIM/bank"
    echo 54 >"$SIM/bank/num_lines"
    echo pinctrl-bcm2835 >"$SIM/bank/label"
    echo 1 >"$SIM/live"
    udevadm settle --timeout=60
    pins=/sys/devices/platform/$(cat "$SIM/dev_name")/$(cat "$SIM/bank/chip_name")
    watch_lines
}
# level LINE: what is on the wire, as the simulator sees it. Of one that nobody holds it is that of its pull, low.
level() { cat "$pins/sim_gpio$1/value"; }

# What the kernel sets lines to: a released line does not show where it was driven last. Nobody else has lines in here.
readonly TRACING=/sys/kernel/tracing
watch_lines() {
    base=$(cat "$(dirname "$pins")"/gpio/*/base)
    echo get==0 >"$TRACING/events/gpio/gpio_value/filter"
    echo 1 >"$TRACING/events/gpio/gpio_value/enable"
}
forget_lines() { : >"$TRACING/trace"; }
# set_to LINE LEVEL: it was, since forget_lines.
set_to() { grep -q "gpio_value: $((base + $1)) set $2" "$TRACING/trace"; }
# pulled LINE up|down: by somebody outside.
pulled() { echo "pull-$2" >"$pins/sim_gpio$1/pull"; }
# Both outputs were driven to their safe states.
safe() { set_to 17 0 && set_to 22 1; }

call() { pinwire call --api-key-file "$KEY" "$@"; }
healthy() { [[ "$(get /health)" == "HTTP/1.1 200"* ]]; }
# get PATH, post PATH JSON [TOKEN]: the first line of the answer; of a POST the last one, which is the body.
get() {
    request "GET $1" '' '' && printf '%s\n' "${answer%%$'\r'*}"
}
post() {
    request "POST $1" "$2" "${3:-}" && printf '%s\n' "${answer##*$'\n'}"
}
request() {
    local socket method=$1 body=$2 token=$3 part
    answer=''
    exec {socket}<>"/dev/tcp/127.0.0.1/${port:-9000}" || return 1
    {
        printf '%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n' "$method"
        if [ -n "$token" ]; then printf 'Authorization: Bearer %s\r\n' "$token"; fi
        if [ -n "$body" ]; then printf 'Content-Type: application/json\r\nContent-Length: %s\r\n' "${#body}"; fi
        printf '\r\n%s' "$body"
    } >&"$socket"
    while IFS= read -r -t "$LIMIT" part <&"$socket"; do answer+=$part$'\n'; done
    answer+=$part
    exec {socket}>&-
    [ -n "$answer" ]
}

# fresh: it runs, as if it had never failed before.
fresh() {
    systemctl reset-failed pinwire 2>/dev/null
    systemctl restart pinwire || verdict 1 "a restart"
}

# ends_and_returns NAME COMMAND…: what ends the daemon: safe first, then another life, within $patience seconds. Leaves
# $place, the journal's place before.
patience=60
ends_and_returns() {
    local name=$1 pid count
    shift
    pid=$(main_pid) count=$(restarts) place=$(now)
    forget_lines
    "$@" >/dev/null 2>&1
    check "$name: it is started again" within "$patience" reborn "$pid"
    check "$name: outputs were safe meanwhile" safe
    same "$name: once" $((count + 1)) "$(restarts)"
    same "$name: outputs are set again" "1 0" "$(level 17) $(level 22)"
    check "$name: it serves" healthy
    check "$name: who is run after it has driven them" said '^relay: ' --cursor="$place"
}

# in_its_place COMMAND…: where the daemon is: its files, its control group; but as root, so that what is refused is
# refused by nothing else.
in_its_place() {
    # shellcheck disable=SC2016 # the inner shell expands them
    bash -c 'echo $$ >/sys/fs/cgroup/system.slice/pinwire.service/cgroup.procs && exec nsenter --mount --target "$0" "$@"' \
        "$(main_pid)" "$@"
}

# set_key KEY VALUE: in the configuration, below no table.
set_key() { sed -i -E "0,/^#?$1 = /s|^#?$1 = .*|$1 = $2|" "$CONFIG"; }
