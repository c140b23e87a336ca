# shellcheck shell=bash
# A daemon of which one part has stopped is no daemon: systemd's watchdog ends it, and its like begins anew.

fresh
pid=$(main_pid)
sleep 120
same "one in good health outlives its watchdog, $(about pinwire WatchdogUSec)" "$pid 0" "$(main_pid) $(restarts)"
for thread in hub gpio-out gpio-in store; do
    fresh
    hung=$(moment)
    # A slow card is no reason to begin anew, so the store has ten times as long.
    if [ "$thread" = store ]; then patience=300; fi
    ends_and_returns "thread $thread hangs" call --timeout 1s DEBUG_HANG "{\"thread\":\"$thread\"}"
    check "thread $thread hangs: it was the watchdog" said 'Watchdog timeout' --cursor="$place"
    check "thread $thread hangs: the daemon has said which" said "watchdog: thread $thread does not answer" --priority=warning --cursor="$place"
    echo "# $thread: back after $((($(moment) - hung) / 1000)) s"
done
patience=60
fresh
