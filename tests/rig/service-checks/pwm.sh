# shellcheck shell=bash
# The hardware's PWM needs a drop-in; without it the signal is made by software.

insmod /rig/modules/pwm-sim.ko
udevadm settle --timeout=60
check "the block is group gpio's" eval '[ "$(stat -Lc %G /sys/class/pwm/pwmchip0/export)" = gpio ]'
cp "$CONFIG" /run/before-pwm
printf '\n[gpio.pins.fan]\npin = 18\nmode = "pwm"\nfrequency = 100\nduty = 0.25\n' >>"$CONFIG"
install -D -m644 /rig/systemd/drop-ins/pwm.conf /etc/systemd/system/pinwire.service.d/pwm.conf
systemctl daemon-reload
fresh
signal() { grep -o 'pwm-0 .*' /sys/kernel/debug/pwm; }
check "with the drop-in it gives the signal" eval 'signal | grep -q "enabled period: 10000000 ns duty: 2500000 ns"'
systemctl stop pinwire
check "a stop ends it" eval '! signal | grep -q "enabled.*duty: 2500000"'
rm -r /etc/systemd/system/pinwire.service.d
systemctl daemon-reload
fresh
same "without it there is none" "" "$(signal | grep enabled)"
check "but it serves" healthy
cp /run/before-pwm "$CONFIG"
fresh
rmmod pwm-sim
