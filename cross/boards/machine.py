"""An emulated Raspberry Pi: boots it with a limit, reaches into it, and ends it. For show.py and system.py."""
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BOOT_LIMIT = 60
SHELL_LIMIT = 60

# The emulators do not model the power block that the kernel would look for; without the word it panics.
KERNEL_LINE = "panic=1 quiet console=ttyAMA0,115200 initcall_blacklist=bcm2835_power_driver_init"

BOARDS = {
    # Time goes by what the board executes, 125 million instructions a second: a host that stalls cannot make its timer
    # miss, and figures are the same on a busy host. A real Zero executes several times as many.
    "raspi0": {
        "emulator": ["qemu-system-arm", "-M", "raspi0", "-m", "512M", "-icount", "shift=3,sleep=on"],
        "peripherals": 0x20000000,
        "model": "Raspberry Pi Zero",
        "machine": "armv6l",
    },
    "raspi3b": {
        "emulator": ["qemu-system-aarch64", "-M", "raspi3b", "-m", "1G"],
        "peripherals": 0x3F000000,
        "model": "Raspberry Pi 3 Model B",
        "machine": "aarch64",
    },
}


class Failed(Exception):
    """What was to be shown did not show."""


def end_well():
    """Ended from outside, the board goes down too."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def say(what):
    print(what, flush=True)


def expect(what, holds):
    if not holds:
        raise Failed(f"this does not hold: {what}")


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [made.getsockname()[1] for made in sockets]
    for made in sockets:
        made.close()
    return ports


class Machine:
    """One board, switched on. What it says on its console is in `console`."""

    def __init__(self, name, kernel, initramfs, ready, disk=None, line="", limit=BOOT_LIMIT):
        self.board = BOARDS[name]
        self.scratch = tempfile.TemporaryDirectory(prefix="pinwire-board-")
        self.directory = pathlib.Path(self.scratch.name)
        self.console_file = self.directory / "console"
        self.ready, self.limit = ready, limit
        self.ports = {}
        kernel = pathlib.Path(kernel)
        self.command = [
            *self.board["emulator"],
            *("-kernel", str(kernel / "vmlinuz"), "-dtb", str(kernel / "dtb"), "-initrd", str(initramfs)),
            *("-append", f"{KERNEL_LINE} {line}".strip()),
            *("-display", "none", "-monitor", "none", "-no-reboot", "-serial", f"file:{self.console_file}"),
            # Levels are read and set from outside, as somebody with a probe would.
            *("-qtest", f"unix:{self.directory}/qtest,server=on,wait=off", "-qtest-log", "none"),
            *("-device", "usb-net,netdev=usb"),
        ]
        if disk:
            # Nothing is written to the image.
            self.command += ["-drive", f"if=sd,format=raw,snapshot=on,file={disk}"]
        self.process = None

    def __enter__(self):
        for attempt in (1, 2):
            try:
                self.switch_on()
                return self
            except BaseException as failed:
                self.switch_off()
                if attempt == 2 or not isinstance(failed, Failed):
                    self.scratch.cleanup()
                    raise
                print(f"not up at the first attempt, once more: {failed}", file=sys.stderr, flush=True)
        raise AssertionError

    def __exit__(self, *_):
        self.switch_off()
        self.scratch.cleanup()

    def switch_on(self):
        (self.directory / "qtest").unlink(missing_ok=True)
        self.console_file.write_bytes(b"")
        daemon, shell = free_ports(2)
        self.ports = {"daemon": daemon, "shell": shell}
        forward = ",".join(f"hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in ((daemon, 9000), (shell, 9001)))
        command = [*self.command, "-netdev", f"user,id=usb,restrict=on,{forward}"]
        begun = time.monotonic()
        with open(self.directory / "emulator", "wb") as said:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while self.ready not in self.console():
            if self.process.poll() is not None:
                raise Failed(f"the emulator ended: {(self.directory / 'emulator').read_text(errors='replace')[-2000:]}")
            if "Kernel panic" in self.console() or time.monotonic() - begun > self.limit:
                raise Failed(f"no '{self.ready}' within {self.limit} s; the console's end:\n{self.console()[-3000:]}")
            time.sleep(0.1)
        self.boot = time.monotonic() - begun

    def switch_off(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def console(self):
        return self.console_file.read_text(errors="replace").replace("\r", "")

    def shell(self, script, limit=SHELL_LIMIT):
        """Runs it on the board as root; its output and status."""
        url = f"http://127.0.0.1:{self.ports['shell']}/cgi-bin/shell"
        request = urllib.request.Request(url, data=script.encode(), headers={"Content-Type": "text/plain"})
        try:
            with urllib.request.urlopen(request, timeout=limit) as answer:
                text = answer.read().decode(errors="replace")
        except (urllib.error.URLError, OSError) as error:
            raise Failed(f"the board's shell does not answer: {error}; the console's end:\n{self.console()[-2000:]}") from error
        output, _, status = text.rpartition("status ")
        if not status.strip().isdigit():
            raise Failed(f"the board's shell said no status: {text}")
        return output.rstrip("\n"), int(status)

    def run(self, script, limit=SHELL_LIMIT):
        """The same for what must work."""
        output, status = self.shell(script, limit)
        if status:
            raise Failed(f"status {status} on the board: {script}\n{output}")
        return output

    def outside(self, command):
        """One word to the emulator about the board's hardware."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(10)
            probe.connect(str(self.directory / "qtest"))
            probe.sendall(command.encode() + b"\n")
            answer = probe.makefile().readline().split()
        if not answer or answer[0] != "OK":
            raise Failed(f"qtest '{command}': {answer}")
        return int(answer[1], 16) if len(answer) > 1 else None

    def register(self, offset):
        return self.board["peripherals"] + 0x200000 + offset

    def level(self, pin):
        """What a probe at the pin would read: GPLEV0."""
        return self.outside(f"readl {self.register(0x34):#x}") >> pin & 1

    def is_output(self, pin):
        """Whether the pin's function is output: GPFSEL."""
        return self.outside(f"readl {self.register(pin // 10 * 4):#x}") >> pin % 10 * 3 & 7 == 1

    def drive(self, pin, level):
        """Somebody else's voltage at an input: GPSET0, GPCLR0."""
        self.outside(f"writel {self.register(0x1C if level else 0x28):#x} {1 << pin:#x}")


def newest(pattern, text):
    """The last line that starts so, without that."""
    lines = [line[len(pattern):].strip() for line in text.splitlines() if line.startswith(pattern)]
    if not lines:
        raise Failed(f"no line '{pattern}…' in:\n{text}")
    return lines[-1]


def make_initramfs(kernel, init, files, directory):
    """busybox, the kernel's modules, /init and these files (path on the board: (source, mode)) as an initramfs."""
    tree = pathlib.Path(directory) / "tree"
    for name in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "var/lib", "root", "modules", "mnt"):
        (tree / name).mkdir(parents=True)
    kernel = pathlib.Path(kernel)
    everything = {"bin/busybox": (kernel / "busybox", 0o755), "init": (init, 0o755), **files}
    for module in sorted((kernel / "modules").iterdir()):
        everything[f"modules/{module.name}"] = (module, 0o644)
    for place, (source, mode) in everything.items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pathlib.Path(source).read_bytes())
        target.chmod(mode)
    (tree / "bin/sh").symlink_to("busybox")
    made = pathlib.Path(directory) / "initramfs"
    pack = "find . | cpio -o -H newc --quiet -R 0:0 | gzip -1"
    with open(made, "wb") as out:
        subprocess.run(["sh", "-c", pack], cwd=tree, stdout=out, check=True, timeout=60)
    return made
