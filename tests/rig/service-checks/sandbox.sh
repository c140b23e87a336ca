# shellcheck shell=bash
# What the daemon may not do, root or not: seen from its own place.

for unit in pinwire.service pinwire-agent.service; do
    exposure=$(systemd-analyze security --no-pager "$unit" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    check "the exposure of $unit is at most 2.0: $exposure" awk -v "exposure=$exposure" 'BEGIN { exit !(exposure != "" && exposure <= 2.0) }'
done
of_daemon() { awk -v "field=$1:" '$1 == field { print $2 }' "/proc/$(main_pid)/status"; }
same "it has no capability, and can get none" "0000000000000000 0000000000000000 1" "$(of_daemon CapEff) $(of_daemon CapBnd) $(of_daemon NoNewPrivs)"
same "its system calls are filtered" 2 "$(of_daemon Seccomp)"
check "its pins are in reach" in_its_place bash -c ': <>/dev/gpiochip0'
for device in /dev/kmsg /dev/fuse; do
    check "$device could be opened by root" bash -c ": <$device"
    refused "but from its place it cannot" in_its_place bash -c ": <$device"
done
for path in /etc /usr /var /home /root /proc/sys/kernel/hostname /sys/fs/cgroup /sys/class/gpio/export; do
    refused "$path cannot be written" in_its_place bash -c 'if [ -d "$0" ]; then : >"$0/written"; else cat "$0" >"$0" || echo 53 >"$0"; fi' "$path"
done
check "its state can" in_its_place bash -c ': >/var/lib/pinwire/written && rm /var/lib/pinwire/written'
same "homes are out of sight" "" "$(in_its_place ls -A /root)"
