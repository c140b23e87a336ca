# shellcheck shell=bash
# Started is what can be asked; what is asked for reaches the pins.

check "a restart with outputs configured" systemctl restart pinwire
check "the port answers the moment it is done" healthy
same "all is ready" "HTTP/1.1 200 OK" "$(get /ready)"
check "the pins are reached by the character device" said "GPIO backend 'cdev'"
same "an output is driven from the start" 1 "$(level 17)"
same "the other one as well" 0 "$(level 22)"
refused "without the key nothing is told" pinwire call READ_MEMORY
check "with the key it is" call READ_MEMORY
call UPDATE_PIN_CONFIGURATIONS '{"pins":{"GPIO5":{"io":"OUTPUT","state":1}}}' >/dev/null
same "a line that a client sets is really set" 1 "$(level 5)"
call UPDATE_PIN_CONFIGURATIONS '{"pins":{"GPIO5":{"io":"OUTPUT","state":0}}}' >/dev/null
same "and really taken back" 0 "$(level 5)"

# An event: whoever watches is told of a change. Connected is what the hub tells of first.
timeout 60 pinwire watch --api-key-file "$KEY" --count 1 'gpio.**' >/run/watched &
watcher=$!
toggle=0
within "$LIMIT" eval 'toggle=$((1 - toggle)); call UPDATE_PIN_CONFIGURATIONS "{\"pins\":{\"GPIO5\":{\"io\":\"OUTPUT\",\"state\":$toggle}}}"; ! kill -0 $watcher'
wait "$watcher"
same "whoever watches is told of a change" 1 "$(grep -c GPIO5 /run/watched)"

# Ready is what the daemon says, and nothing else: one that cannot say it is never started, although its port answers.
mkdir -p /run/systemd/system/pinwire.service.d
cat >/run/systemd/system/pinwire.service.d/mute.conf <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/bin/env -u NOTIFY_SOCKET /usr/bin/pinwire serve --config /etc/pinwire/pinwire.toml
TimeoutStartSec=15
Restart=no
UNIT
systemctl daemon-reload
systemctl stop pinwire
systemctl start pinwire &
starter=$!
check "one that cannot say READY serves" within 14 healthy
same "but is not started" activating "$(about pinwire ActiveState)"
started=0
wait "$starter" || started=$?
same "and its start fails" 1 "$started"
same "for want of time" timeout "$(about pinwire Result)"
rm /run/systemd/system/pinwire.service.d/mute.conf
systemctl daemon-reload
systemctl reset-failed pinwire

# What cannot start says so to whoever starts it.
place=$(now)
set_key listen '"192.0.2.1:9000"'
refused "a start without its address fails" timeout 30 systemctl start pinwire
check "and says why, as an error" said 'cannot listen on 192\.0\.2\.1:9000' --priority=err --cursor="$place"
set_key listen '":9000"'
systemctl stop pinwire
systemctl reset-failed pinwire
place=$(now)
set_key listen '"nowhere"'
refused "a start with a bad configuration fails" timeout 30 systemctl start pinwire
check "and says which key, as an error" said 'listen: ' --priority=err --cursor="$place"
check "and is not tried again" failed
same "not once" 0 "$(restarts)"
set_key listen '":9000"'
systemctl reset-failed pinwire
check "with its address it starts" systemctl start pinwire
