# shellcheck shell=bash
# Pins by sysfs need a drop-in, and then they are driven: lines stay exported, so what was set stays on the wire.

dropins=/etc/systemd/system/pinwire.service.d
fresh
set_key backend '"sysfs"'
systemctl stop pinwire
place=$(now)
timeout 60 systemctl start pinwire 2>/dev/null
systemctl stop pinwire
check "without the drop-in the journal says what is missing" said 'drop-ins/sysfs\.conf|sysfs\.conf|[Rr]ead-only|ReadWritePaths' --priority=warning --cursor="$place"
systemctl reset-failed pinwire

install -D -m644 /rig/systemd/drop-ins/sysfs.conf "$dropins/sysfs.conf"
systemctl daemon-reload
check "with the drop-in for sysfs it starts" systemctl start pinwire
check "by sysfs" said "GPIO backend 'sysfs'" --cursor="$place"
same "outputs are driven" "1 0" "$(level 17) $(level 22)"
call UPDATE_PIN_CONFIGURATIONS '{"pins":{"GPIO5":{"io":"OUTPUT","state":1}}}' >/dev/null
same "a client's as well" 1 "$(level 5)"
pid=$(main_pid)
kill -KILL "$pid"
check "kill -9: the wire itself is safe" within "$LIMIT" eval '[ "$(level 17) $(level 22)" = "0 1" ]'
check "kill -9: it is started again" within "$LIMIT" reborn "$pid"
same "kill -9: outputs are set again" "1 0" "$(level 17) $(level 22)"
check "a stop" systemctl stop pinwire
same "leaves the wire safe" "0 1" "$(level 17) $(level 22)"
exposure=$(systemd-analyze security --no-pager pinwire.service | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
echo "# the exposure with the drop-in for sysfs is $exposure"
rm -r "$dropins"
systemctl daemon-reload
set_key backend '"auto"'
for line in /sys/class/gpio/gpio[0-9]*; do basename "$line" | tr -d a-z >/sys/class/gpio/unexport; done
fresh
