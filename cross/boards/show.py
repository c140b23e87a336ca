#!/usr/bin/env python3
"""show.py BOARD KERNEL PROGRAM CLIENT: the program on an emulated board, and this machine as its visitor.

Boots the board from an initramfs, installs the program with install.sh, starts the daemon on the board's real GPIO
(sysfs, then the character device) and shows from outside what it does: a WebSocket client switches a pin, and a probe at
the hardware sees the level. CLIENT is a pinwire for this machine. Prints one line per thing shown; the first that does not show ends it.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

try:
    from websockets.sync.client import connect
except ImportError:
    sys.exit("show.py: needs Python's websockets: pip install --no-deps -r tests/python/requirements.txt")

from machine import Failed, Machine, end_well, expect, make_initramfs, newest, say

HERE = pathlib.Path(__file__).resolve().parent
# The targets of a release, on the Zero: from exec to the first connection, and memory when idle.
START_LIMIT = 1.0
RSS_LIMIT_KIB = 6 * 1024
ANSWER = 20

CONFIG = """
listen = ":9000"
state_dir = "/var/lib/pinwire"
log_level = "info"
[auth]
mode = "key"
first_key_file = "/var/lib/pinwire/admin.key"
[gpio]
backend = "{backend}"
[gpio.pins.relay]
pin = 22
mode = "output"
initial = "high"
safe = "low"
[gpio.pins.button]
pin = 27
mode = "input"
edge = "none"
"""

# Times are the board's own, in hundredths of a second; the shell's `read` starts no program that would take some.
START = """
mkdir -p /etc/pinwire /var/lib/pinwire
cat >/etc/pinwire/pinwire.toml <<'CONFIG'
{config}
CONFIG
rm -f /run/said; mkfifo /run/said
pinwire serve --config /etc/pinwire/pinwire.toml >/run/said 2>/run/log </dev/null &
daemon=$!
echo $daemon >/run/pid
if ! read -r listening </run/said; then echo "it ended at the start:"; cat /run/log; exit 1; fi
read -r listens rest </proc/uptime
printf 'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | timeout 20 nc 127.0.0.1 9000 >/run/health || exit 1
read -r answers rest </proc/uptime
set -- $(sed 's/^.*) //' /proc/$daemon/stat)
shift 19
echo "begun $1"; echo "listens $listens"; echo "answers $answers"; echo "line $listening"
"""

class Visitor:
    """A WebSocket client on this machine."""

    def __init__(self, machine, key, path="/"):
        url = f"ws://127.0.0.1:{machine.ports['daemon']}{path}"
        self.connection = connect(url, additional_headers={"X-API-Key": key}, open_timeout=ANSWER, compression=None)
        self.socket = None

    def __enter__(self):
        self.socket = self.connection.__enter__()
        return self

    def __exit__(self, *ended):
        return self.connection.__exit__(*ended)

    def call(self, action, params=None):
        self.socket.send(json.dumps({"action": action, "params": params}))
        answer = json.loads(self.socket.recv(timeout=ANSWER))
        if not answer["success"]:
            raise Failed(f"{action}: {answer['error']}")
        return answer["data"]

    def event(self, topic, matches):
        end = time.monotonic() + ANSWER
        while time.monotonic() < end:
            event = json.loads(self.socket.recv(timeout=ANSWER))
            if event.get("type") == topic and matches(event["data"]):
                return event
        raise Failed(f"no event {topic} within {ANSWER} s")


def start(machine, backend):
    """Starts the daemon; its times in seconds of the board's own clock."""
    said = machine.run(START.format(config=CONFIG.format(backend=backend)))
    begun = int(newest("begun", said)) / 100
    listens, answers = (float(newest(name, said)) for name in ("listens", "answers"))
    expect(f"/health says that all is well:\n{machine.run('cat /run/health')}", "200 OK" in machine.run("head -n 1 /run/health"))
    say(f"{backend}: from exec to 'listening' {listens - begun:.2f} s, to the first request answered {answers - begun:.2f} s")
    return listens - begun, answers - begun


def stop(machine):
    machine.run("kill -TERM $(cat /run/pid); n=0; while [ -e /proc/$(cat /run/pid)/fd/0 ]; do "
                "n=$((n+1)); [ $n -lt 100 ] || exit 1; usleep 100000; done")


def switch(machine, key, backend, client):
    """Pin 17 by a WebSocket client, seen by a probe and told as an event; then by pinwire's own client."""
    with Visitor(machine, key) as visitor, Visitor(machine, key, "/ws?types=gpio.**") as listener:
        for state in (1, 0, 1):
            visitor.call("UPDATE_PIN_CONFIGURATIONS", {"pins": {"GPIO17": {"io": "OUTPUT", "state": state}}})
            expect(f"GPIO17 is an output and {state} at the hardware", machine.is_output(17) and machine.level(17) == state)
            level = "high" if state else "low"
            event = listener.event("gpio.state.changed", lambda data: data["pin"] == 17)
            expect(f"the event says {level}: {event}", event["data"]["state"] == level)
        say(f"{backend}: a WebSocket client switched GPIO17 on, off and on; GPLEV0 and the events on /ws agree")
        for level in (1, 0, 1):
            machine.drive(27, level)
            deadline = time.monotonic() + ANSWER
            while visitor.call("READ_PIN_CONFIGURATIONS", {"pins": ["GPIO27"]})["GPIO27"]["state"] != level:
                expect(f"GPIO27 reads {level}", time.monotonic() < deadline)
                time.sleep(0.1)
        say(f"{backend}: an input driven from outside reads what was driven")
    expect("pinwire call switches it off", client("call", "UPDATE_PIN_CONFIGURATIONS",
           '{"pins":{"GPIO17":{"io":"OUTPUT","state":0}}}').returncode == 0 and machine.level(17) == 0)
    numbers = machine.run("cat /sys/kernel/debug/gpio 2>/dev/null; ls -d /sys/class/gpio/gpio* 2>/dev/null || true").split()
    if backend == "sysfs":
        base = int(machine.run("for c in /sys/class/gpio/gpiochip*; do [ $(cat $c/label) = pinctrl-bcm2835 ] && cat $c/base; done; true"))
        expect("pin 17 is exported below /sys/class/gpio", f"/sys/class/gpio/gpio{base + 17}" in numbers)
        say(f"sysfs: exported as /sys/class/gpio/gpio{base + 17} (the chip's base is {base})")


def telemetry(machine, key, name):
    with Visitor(machine, key) as visitor:
        platform = visitor.call("READ_PLATFORM")
        expect(f"the board is known: {platform}", machine.board["model"] in json.dumps(platform))
        say(f"READ_PLATFORM: {json.dumps(platform)}")
        for action in ("READ_TEMPERATURE", "READ_UPTIME", "READ_MEMORY"):
            say(f"{action}: {json.dumps(visitor.call(action))}")


def memory(machine):
    """Resident memory and threads once nobody is connected any more."""
    time.sleep(3)
    lines = machine.run("grep -E '^(VmRSS|RssAnon|RssFile|RssShmem|Threads)' /proc/$(cat /run/pid)/status")
    found = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines.splitlines())}
    say("idle: " + ", ".join(f"{name} {value}{'' if name == 'Threads' else ' KiB'}" for name, value in found.items()))
    return found["VmRSS"]


def show(name, machine, client_program):
    say(f"{name}: up after {machine.boot:.1f} s; {machine.run('uname -srm')}, {machine.run('cat /proc/device-tree/model')}".replace("\0", ""))
    expect(f"the kernel is {machine.board['machine']}", machine.run("uname -m") == machine.board["machine"])
    strict = name == "raspi0" and os.environ.get("PINWIRE_BOARD_STRICT", "1") == "1"
    # Here without systemd: the program and nothing else.
    say(machine.run("cd /root && ./install.sh ./pinwire && rm pinwire && pinwire --version"))
    say(f"doctor on the board:\n{machine.shell('pinwire doctor')[0]}")
    for backend in ("sysfs", "cdev"):
        _, first = start(machine, backend)
        if backend == "sysfs":
            idle_at_once = memory(machine)
            key = machine.run("cat /var/lib/pinwire/admin.key")
            key_file = machine.directory / "key"
            key_file.touch(mode=0o600)
            key_file.write_text(key)

        def client(*arguments):
            url = f"ws://127.0.0.1:{machine.ports['daemon']}"
            words = [client_program, arguments[0], "--url", url, "--api-key-file", str(key_file), *arguments[1:]]
            return subprocess.run(words, timeout=ANSWER, capture_output=True, text=True, check=False)

        expect("the relay's first level is high", machine.level(22) == 1 and machine.is_output(22))
        switch(machine, key, backend, client)
        if backend == "sysfs":
            telemetry(machine, key, name)
            rss = memory(machine)
            if strict:
                expect(f"a first answer within {START_LIMIT} s: {first}", first <= START_LIMIT)
                expect(f"idle with at most {RSS_LIMIT_KIB} KiB: {idle_at_once}, {rss}", max(idle_at_once, rss) <= RSS_LIMIT_KIB)
        stop(machine)
        expect("the relay went to its safe level", machine.level(22) == 0)
        say(f"{backend}: SIGTERM ended it and the relay is off")
    log = machine.run("cat /run/log")
    expect(f"no panic in the log:\n{log}", "panicked" not in log)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    name, kernel, program, client = sys.argv[1:]
    end_well()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pinwire-board-") as scratch:
        files = {
            "root/pinwire": (program, 0o755),
            "root/install.sh": (HERE.parent.parent / "install.sh", 0o755),
            "board/cgi-bin/shell": (HERE / "shell.cgi", 0o755),
        }
        initramfs = make_initramfs(kernel, HERE / "init", files, scratch)
        try:
            with Machine(name, kernel, initramfs, "board: ready") as machine:
                try:
                    show(name, machine, os.path.abspath(client))
                except (Failed, OSError, TimeoutError) as failed:
                    say(f"the daemon's log:\n{machine.shell('cat /run/log')[0]}")
                    raise Failed(failed) from failed
        except Failed as failed:
            sys.exit(f"show.py: {name}: {failed}")
    say(f"{name}: all shown after {time.monotonic() - begun:.0f} s")


main()
