# shellcheck shell=bash
# A reload applies what may change live, and names what needs a restart.

fresh
pid=$(main_pid) place=$(now)
set_key log_level '"debug"'
set_key node_id '"other"'
check "a reload" systemctl reload pinwire
check "is told to be done, with what it applied" within "$LIMIT" said 'reload done: applied .*log_level' --cursor="$place"
check "and names what needs a restart" said 'node_id.*: needs a restart' --priority=warning..warning --cursor="$place"
check "systemd takes it for ready afterwards" within "$LIMIT" active
same "it is the same process" "$pid" "$(main_pid)"
same "its outputs are as they were" "1 0" "$(level 17) $(level 22)"

place=$(now)
printf 'nonsense\n' >>"$CONFIG"
check "a reload with a bad file" systemctl reload pinwire
check "changes nothing, and says so as an error" within "$LIMIT" said 'nothing was changed' --priority=err --cursor="$place"
check "it goes on" healthy
sed -i '/^nonsense$/d' "$CONFIG"
set_key log_level '"info"'
set_key node_id '""'

# Keys and users of the state directory, made by the command line.
place=$(now)
runuser -u pinwire -- pinwire key add --name panel --state-dir /var/lib/pinwire | tail -n 1 >/run/panel.key
chmod 600 /run/panel.key
check "a reload after a new key" systemctl reload pinwire
check "is done" within "$LIMIT" said 'reload done' --cursor="$place"
check "and the key opens" pinwire call --api-key-file /run/panel.key READ_MEMORY
fresh
