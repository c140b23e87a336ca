"""schemathesis over the daemon's own description: no 5xx, and nothing that is not described.

    PINWIRE=target/release/pinwire python tests/schemathesis/run.py [SECONDS] [OPTIONS OF SCHEMATHESIS…]

The environment variable PINWIRE names the binary. Everything else is made here and gone at the end: a Raspberry Pi's
captured tree, simulated pins, a state directory, an administrator, a server with an agent's key and a sample. SECONDS
bounds the whole run (default 150). Exit code 0: nothing was found.
"""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"

# How long the daemon may take to start, to answer, and to end, in seconds.
LIMIT = 20

KEY = "schemathesis-operator"

# What the daemon listens to in its environment; the caller's must not get in.
OWN_ENVIRONMENT = ["PORT", "API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE", "ENABLE_INFO_SOCKET", "PINWIRE_API_KEY"]

# The firmware's program, for what the tree does not have.
VCGENCMD = """#!/bin/sh
case "$*" in
"get_throttled") echo throttled=0x50005 ;;
"measure_clock arm") echo "frequency(48)=1500398464" ;;
"measure_clock core") echo "frequency(1)=500000992" ;;
esac
"""

SAMPLE = {
    "cpu": {"usage_percent": 12.5, "cores": 4, "frequency_mhz": 1500},
    "memory": {"total_gb": 3.7, "used_gb": 1.1, "available_gb": 2.4, "usage_percent": 30.2},
    "disk": {"total_gb": 29.1, "used_gb": 8.0, "available_gb": 19.6, "usage_percent": 29.0},
    "network": {"bytes_sent": 1200, "bytes_recv": 3400, "packets_sent": 10, "packets_recv": 20},
}


def environment():
    kept = {name: value for name, value in os.environ.items() if name not in OWN_ENVIRONMENT}
    return kept | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


class Daemon:
    """A daemon in a directory of its own."""

    def __init__(self, directory):
        program = directory / "vcgencmd"
        program.write_text(VCGENCMD)
        program.chmod(0o755)
        key = directory / "key"
        key.write_text(KEY)
        key.chmod(0o600)
        config = directory / "pinwire.toml"
        config.write_text((HERE / "pinwire.toml").read_text().replace("VCGENCMD", str(program)))
        arguments = ["--config", config, "--root", FIXTURES / "pi4", "--listen", "127.0.0.1:0"]
        arguments += ["--api-key-file", key, "--state-dir", directory / "state"]
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [os.environ["PINWIRE"], *map(str, arguments)],
                stdout=subprocess.PIPE, stderr=log, env=environment(), text=True,
            )
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        if not selector.select(LIMIT):
            raise SystemExit(f"the daemon did not start within {LIMIT} s")
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"the daemon did not start: {self.log.read_text()}")
        self.url = line.split()[2]

    def ask(self, method, path, body=None, key=KEY):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("X-API-Key", key)
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=LIMIT) as answer:
            return json.load(answer)

    def stop(self):
        """Whether it was still there, and ended as it should."""
        alive = self.process.poll() is None
        if alive:
            self.process.terminate()
        return alive and self.process.wait(LIMIT) == 0


def seed(daemon):
    """One of everything, so that there is something to find. Answers what stands for the parameters of paths."""
    server = daemon.ask("POST", "/api/v1/servers", {"name": "greenhouse"})["id"]
    daemon.ask("POST", "/api/v1/api-keys", {"server_id": server, "name": "first"})
    daemon.ask("POST", f"/api/v1/metrics/{server}", SAMPLE)
    threshold = {"server_id": server, "metric_type": "cpu", "threshold_value": 10, "comparison": "gt"}
    daemon.ask("POST", "/api/v1/alerts/thresholds", threshold)
    daemon.ask("POST", f"/api/v1/metrics/{server}", SAMPLE)
    daemon.ask("POST", "/api/v1/clusters", {"name": "lab", "description": "by the window"})
    # The frequencies come from a program that is first asked now.
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            daemon.ask("GET", "/system")
            break
        except urllib.error.HTTPError:
            pass
    return server


def main():
    arguments = sys.argv[1:]
    seconds = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 150
    with tempfile.TemporaryDirectory(prefix="pinwire-schemathesis-") as scratch:
        directory = pathlib.Path(scratch)
        daemon = Daemon(directory)
        try:
            server = "0c9b1a52-6a3e-4f0e-9d9b-3f0a1f0f6f01"; [daemon.ask("GET","/pins")]
            command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", "/work/wt/collect/tests/schemathesis/schemathesis.toml"]
            command += ["run", f"{daemon.url}/openapi.json", "--max-time", seconds, *arguments]
            # Some seconds more than it has been told to take: to shrink what it has found.
            status = subprocess.run(
                list(map(str, command)), cwd=directory, timeout=seconds + 60, check=False,
                env=environment() | {"KEY": KEY, "SERVER": server},
            ).returncode
        finally:
            well = daemon.stop()
        if not well:
            print(daemon.log.read_text(), file=sys.stderr)
            raise SystemExit("the daemon did not last until the end, or did not end with 0")
        crashes = [line for line in daemon.log.read_text().splitlines() if "crashed" in line]
        if crashes:
            raise SystemExit("\n".join(crashes))
        raise SystemExit(status)


if __name__ == "__main__":
    main()
