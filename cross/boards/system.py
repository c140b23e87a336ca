#!/usr/bin/env python3
"""system.py BOARD KERNEL IMAGE README HEADING CLIENT FILE…: the README's installation, word by word, on a Debian.

Boots an emulated board from an SD card's IMAGE with systemd, the FILEs (a package, or what install.sh needs) in the home
directory of the user `pi`, and runs there, as that user, every line of the README's `sh` blocks below HEADING. Then the
service must run, a client on this machine must switch a pin with the key that the README says where to find, a killed
daemon must come back, and a stop must end it well. Lines that build, and those with scp or ssh, are how one gets onto a
board: here the files are there already.
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

from machine import Failed, Machine, end_well, expect, make_initramfs, say

HERE = pathlib.Path(__file__).resolve().parent
# From the kernel to a shell below systemd: 25 s on an idle host, and four times that on a busy one.
BOOT_LIMIT = 150
LINE_LIMIT = 240
ELSEWHERE = {"scp", "ssh", "cargo", "cross/build", "packaging/deb"}


def lines_below(readme, heading):
    """The commands of the `sh` blocks below the heading that begins so, up to the next one of its level."""
    level, fence, lines = None, None, []
    for line in pathlib.Path(readme).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fence = None if fence else line
        elif fence is None and (found := re.match(r"(#+) (.*)", line)):
            if level is None and found[2].startswith(heading):
                level = len(found[1])
            elif level and len(found[1]) <= level:
                break
        elif level and fence == "```sh":
            command = line.split("  #")[0].strip()
            if command and not command.startswith("#"):
                lines.append(command)
    if level is None:
        raise Failed(f"{readme} has no heading '{heading}'")
    return lines


def follow(machine, lines):
    done = 0
    architecture = machine.run("dpkg --print-architecture")
    for line in lines:
        # The README names one of its packages; which one a board needs, it says beside.
        line = line.replace("_armhf.deb", f"_{architecture}.deb")
        if shlex.split(line)[0] in ELSEWHERE:
            say(f"  (on one's own machine) {line}")
            continue
        begun = time.monotonic()
        output, status = machine.shell(f"cd /home/pi && SUDO_EDITOR=true runuser -u pi -- sh -c {shlex.quote(line)}", LINE_LIMIT)
        say(f"  $ {line}   [{time.monotonic() - begun:.1f} s]")
        for told in output.splitlines():
            say(f"    {re.sub('pw_[0-9a-f]+[.][^ ]+', 'pw_…', told)}")
        expect(f"status 0 of: {line}", status == 0)
        done += 1
    expect("the README has something to do below that heading", done > 0)


def seconds(machine, unit):
    """From the start of its process to READY=1, by systemd's clock on the board."""
    shown = machine.run(f"systemctl show {unit} -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic")
    values = dict(line.split("=") for line in shown.splitlines())
    return (int(values["ActiveEnterTimestampMonotonic"]) - int(values["ExecMainStartTimestampMonotonic"])) / 1e6


def show(name, machine, lines, client_program):
    say(f"{name}: a shell after {machine.boot:.0f} s; {machine.run('uname -srm')}, {machine.run('systemctl --version | head -n 1')}")
    state, _ = machine.shell("timeout 100 systemctl is-system-running --wait", 120)
    say(f"systemd: {state}; {machine.shell('systemctl --failed --no-legend --plain')[0] or 'nothing failed'}")
    follow(machine, lines)
    expect("the service is active", machine.run("systemctl is-active pinwire") == "active")
    say(f"pinwire.service: from exec to READY=1 {seconds(machine, 'pinwire'):.2f} s; "
        + machine.run("systemctl show pinwire -p StatusText --value"))
    main = machine.run("systemctl show pinwire -p MainPID --value")
    say(machine.run(f"ps -o user,group,rss,nlwp,args -p {main} | tail -n 1"))
    say(f"systemd-analyze security: {machine.run('systemd-analyze security --no-pager pinwire | tail -n 1')}")
    key_file = machine.directory / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(machine.run("runuser -u pi -- sudo cat /var/lib/pinwire/admin.key"))
    url = f"ws://127.0.0.1:{machine.ports['daemon']}"

    def call(action, params="{}"):
        words = [client_program, "call", "--url", url, "--api-key-file", str(key_file), action, params]
        answer = subprocess.run(words, timeout=30, capture_output=True, text=True, check=False)
        expect(f"{action}: {answer.stdout}{answer.stderr}", answer.returncode == 0)
        return answer.stdout

    for level in (1, 0, 1):
        call("UPDATE_PIN_CONFIGURATIONS", json.dumps({"pins": {"GPIO17": {"io": "OUTPUT", "state": level}}}))
        expect(f"GPIO17 is {level} at the hardware", machine.level(17) == level and machine.is_output(17))
    say("a client on this machine switched GPIO17 on, off and on; the hardware agrees")
    say(call("READ_PLATFORM").strip())
    say(f"doctor:\n{machine.shell('runuser -u pi -- pinwire doctor')[0]}")
    machine.run("kill -9 $(systemctl show pinwire -p MainPID --value)")
    machine.run("for n in $(seq 300); do [ $(systemctl show pinwire -p NRestarts --value) = 1 ] && "
                "systemctl is-active -q pinwire && exit 0; sleep 0.1; done; systemctl status pinwire; exit 1")
    say("kill -9: started again by systemd")
    machine.run("systemctl stop pinwire")
    expect("it ended well", machine.run("systemctl show pinwire -p Result --value") == "success")
    say("systemctl stop: ended, result success")
    journal = machine.run("journalctl -q --no-pager -o cat -u pinwire")
    expect(f"no panic in the journal:\n{journal}", "panicked" not in journal)


def main():
    if len(sys.argv) < 8:
        sys.exit(__doc__)
    name, kernel, image, readme, heading, client = sys.argv[1:7]
    files = [pathlib.Path(file) for file in sys.argv[7:]]
    end_well()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pinwire-board-") as scratch:
        contents = {"board/cgi-bin/shell": (HERE / "shell.cgi", 0o755)}
        for module in sorted((pathlib.Path(kernel) / "disk").iterdir()):
            contents[f"disk/{module.name}"] = (module, 0o644)
        for file in files:
            for part in [file] if file.is_file() else sorted(path for path in file.rglob("*") if path.is_file()):
                place = part.name if part == file else part.relative_to(file.parent)
                contents[f"payload/home/pi/{place}"] = (part, 0o755 if os.access(part, os.X_OK) else 0o644)
        initramfs = make_initramfs(kernel, HERE / "init-system", contents, scratch)
        try:
            lines = lines_below(readme, heading)
            with Machine(name, kernel, initramfs, "board: ready", disk=image, limit=BOOT_LIMIT) as machine:
                try:
                    show(name, machine, lines, os.path.abspath(client))
                except (Failed, OSError, subprocess.SubprocessError) as failed:
                    say(machine.shell("systemctl --no-pager -l status pinwire; journalctl -q --no-pager -n 40 -u pinwire")[0])
                    raise Failed(failed) from failed
        except Failed as failed:
            sys.exit(f"system.py: {name}: {failed}")
    say(f"{name}: the installation as in the README, all shown after {time.monotonic() - begun:.0f} s")


main()
