# shellcheck shell=bash
# Each line has its priority, and none shows how it was told.

fresh
place=$(now)
call DEBUG_PANIC '{"thread":"connection"}' >/dev/null 2>&1
within "$LIMIT" said 'crashed|panicked' --cursor="$place"
systemctl stop pinwire
sed -i 's/^mode = "key"/mode = "kye"/' "$CONFIG"
systemctl start pinwire 2>/dev/null
within "$LIMIT" failed
systemctl stop pinwire
systemctl reset-failed pinwire
sed -i 's/^mode = "kye"/mode = "key"/' "$CONFIG"
systemctl start pinwire
check "a start is information" said 'GPIO backend' --priority=info..info
check "safe states at the end are a warning" said 'went to the safe state' --priority=warning..warning
check "a crash is an error" said 'crashed' --priority=err..err --cursor="$place"
check "a bad configuration is an error" said 'auth\.mode' --priority=err..err --cursor="$place"
refused "no priority is shown as text" said '^<[0-7]>'
refused "no time is told twice" said '^[0-9]{4}-[0-9]{2}-[0-9]{2}T' --cursor="$place"
same "all lines are the daemon's" "" "$(journalctl --unit=pinwire --output=short --no-hostname --no-pager | grep -v -e 'pinwire\[' -e 'systemd\[' -e ' env\[' -e '^-- ')"
