# shellcheck shell=bash
# With the socket unit systemd holds the port: whoever connects while the daemon is away waits for the next one.

systemctl stop pinwire
check "the socket is enabled" systemctl enable --quiet --now pinwire.socket
same "the daemon is not needed for that" inactive "$(about pinwire ActiveState)"
check "the first connection starts it" healthy
check "it is active then" within "$LIMIT" active
check "it uses the socket it was given" said "is the service manager's socket"

# knock COUNT-FILE: connects, one after the other, until /run/enough is there; a line for each that was not served.
knock() {
    local served=0
    until [ -e /run/enough ]; do
        if request "GET /health" '' '' 2>/run/knock-error && [[ "$answer" == "HTTP/1.1 200"* ]]; then
            served=$((served + 1))
        else
            echo "not served: '${answer%%$'\r'*}' $(tail -n 1 /run/knock-error)"
        fi
        # A virtual clock stands still while somebody is busy.
        read -r -t 0.01 <>/run/never
    done
    echo "$served" >"$1"
}
mkfifo /run/never
clients=()
for client in 1 2 3; do
    knock "/run/served.$client" >"/run/unserved.$client" &
    clients+=($!)
done
for round in 1 2 3; do
    sleep 1
    check "restart $round under connections" systemctl restart pinwire
done
sleep 1
check "a stop under connections" systemctl stop pinwire
check "is none for long" within "$LIMIT" active
sleep 1
touch /run/enough
wait "${clients[@]}"
same "every connection was served, $(awk "{ sum += \$1 } END { print sum }" /run/served.*) of them" "" "$(cat /run/unserved.*)"

# A daemon that is killed takes with it what it had accepted; nobody is refused.
rm -f /run/enough /run/unserved.*
knock /run/served.1 >/run/unserved.1 &
client=$!
sleep 1
kill -KILL "$(main_pid)"
sleep 5
touch /run/enough
wait "$client"
refused "nobody is refused when it is killed" grep -i refused /run/unserved.1
check "it is back" within "$LIMIT" active
systemctl disable --quiet --now pinwire.socket
systemctl stop pinwire
check "without the socket unit it has a port of its own again" systemctl start pinwire
check "and serves there" healthy
