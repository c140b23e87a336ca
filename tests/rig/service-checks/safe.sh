# shellcheck shell=bash
# However the daemon ends, the outputs are where they are safe.

fresh
same "while it runs, outputs are as configured" "1 0" "$(level 17) $(level 22)"
forget_lines
check "a stop" systemctl stop pinwire
check "leaves them safe" safe
check "the daemon itself has seen to that" said ' outputs went to the safe state: shutting down'
same "and was none of a failure" "success 0" "$(about pinwire Result) $(about pinwire ExecMainStatus)"
check "a start" systemctl start pinwire
same "sets them again" "1 0" "$(level 17) $(level 22)"

ends_and_returns "kill -9" kill -KILL "$(main_pid)"
# Not SEGV: Rust's handler takes one that comes from outside for none of its own.
ends_and_returns "an abort" kill -ABRT "$(main_pid)"
panics() {
    call DEBUG_PANIC "{\"thread\":\"$1\"}"
    # That of the inputs has something to do at an edge only.
    pulled 27 up
}
for thread in hub gpio-out gpio-in; do
    fresh
    ends_and_returns "a panic of thread $thread" panics "$thread"
    check "a panic of thread $thread: told as an error" said "thread $thread crashed" --priority=err --cursor="$place"
    pulled 27 down
done

# What dies again and again is left alone, and safe.
fresh
place=$(now)
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    within "$LIMIT" eval 'active || failed' || break
    if failed; then break; fi
    kill -KILL "$(main_pid)"
    within "$LIMIT" eval '! active'
done
check "what dies again and again is left alone" within "$LIMIT" failed
check "after some attempts" said 'Start request repeated too quickly' --cursor="$place"
check "in the safe state" safe
fresh
