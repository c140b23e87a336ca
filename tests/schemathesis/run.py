"""schemathesis over the daemon's own description: no 5xx, and nothing that is not described.

    PINWIRE=target/release/pinwire python tests/schemathesis/run.py [SECONDS] [OPTIONS OF SCHEMATHESIS…]

The environment variable PINWIRE names the binary. Everything else is made here and gone at the end: a Raspberry Pi's
captured tree, simulated pins, a state directory, a server whose agent is connected, a cluster, an alert. SECONDS bounds
the whole run (default 150). Exit code 0: nothing was found.
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
PASSWORD = "correct horse battery staple"

# Paths that are about who is logged in, and those that users have something behind.
USERS = "^/api/v1/auth/(me|profile|logout|change-password)"
THEIRS = "^/api/v1/(auth|servers|api-keys|alerts|metrics|logs)"

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


def first_line(process, log):
    """What the process says first on its standard output, within LIMIT."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    line = process.stdout.readline() if selector.select(LIMIT) else ""
    if not line.startswith("listening on "):
        raise SystemExit(f"not ready within {LIMIT} s: {log.read_text()}")
    return line.split()[2]


class Process:
    """A pinwire with files of its own."""

    def __init__(self, directory, name, arguments):
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            command = [os.environ["PINWIRE"], *arguments, "--listen", "127.0.0.1:0", "--gpio", "sim"]
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=log, env=environment(), text=True
            )
        self.url = first_line(self.process, self.log)

    def ask(self, method, path, body=None, token=None):
        request = urllib.request.Request(self.url + path, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        else:
            request.add_header("X-API-Key", KEY)
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=LIMIT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            refusal.msg += f": {method} {path}: {refusal.read(500).decode(errors='replace')}"
            raise

    def until(self, path, fits):
        """Asks until the answer is as it should be. Each try waits for an answer, not for time to pass."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                if fits(self.ask("GET", path)):
                    return
            except urllib.error.HTTPError:
                pass
        raise SystemExit(f"{path} did not become as it should within {LIMIT} s")

    def stop(self):
        """Whether it was still there, and ended as it should."""
        alive = self.process.poll() is None
        if alive:
            self.process.terminate()
        return alive and self.process.wait(LIMIT) == 0

    def complaint(self):
        """Why this run failed, whatever schemathesis has found."""
        crashed = [line for line in self.log.read_text().splitlines() if "crashed" in line]
        return "\n".join(crashed)


def secret(directory, name, text):
    path = directory / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def hub(directory):
    program = directory / "vcgencmd"
    program.write_text(VCGENCMD)
    program.chmod(0o755)
    config = directory / "hub.toml"
    config.write_text((HERE / "hub.toml").read_text().replace("VCGENCMD", str(program)))
    arguments = ["serve", "--config", config, "--root", FIXTURES / "pi4", "--state-dir", directory / "hub"]
    return Process(directory, "hub", [*arguments, "--api-key-file", secret(directory, "operator.key", KEY)])


def agent(directory, url, key):
    arguments = ["agent", "--config", HERE / "agent.toml", "--hub", url.replace("http", "ws", 1)]
    arguments += ["--key-file", secret(directory, "agent.key", key), "--state-dir", directory / "agent"]
    return Process(directory, "agent", arguments)


def seed(own):
    """One of everything, so that there is something to find: the server's id, and its agent's key."""
    server = own.ask("POST", "/api/v1/servers", {"name": "greenhouse"})["id"]
    key = own.ask("POST", "/api/v1/api-keys", {"server_id": server, "name": "first"})["key"]
    threshold = {"server_id": server, "metric_type": "cpu", "threshold_value": 10, "comparison": "gt"}
    own.ask("POST", "/api/v1/alerts/thresholds", threshold)
    own.ask("POST", f"/api/v1/metrics/{server}", SAMPLE)
    own.ask("POST", "/api/v1/clusters", {"name": "lab", "description": "by the window"})
    # The frequencies come from a program that is first asked now.
    own.until("/system", lambda answer: True)
    return server, key


def user(own):
    """A user's access token."""
    person = {"email": "ada@example.org", "username": "ada", "password": PASSWORD, "password_confirm": PASSWORD}
    return own.ask("POST", "/api/v1/auth/register", person)["access_token"]


def look(own, seconds, header, secret_text, server, arguments):
    """One pass; 0: nothing was found."""
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color"]
    command += ["--config-file", HERE / "schemathesis.toml", "run", f"{own.url}/openapi.json"]
    # What is there for old clients answers 501, always.
    command += ["--exclude-deprecated", "--max-time", seconds, "-H", f"{header}:{secret_text}", *arguments]
    # Some seconds more than it has been told to take: to shrink what it has found.
    return subprocess.run(
        list(map(str, command)), cwd=own.log.parent, timeout=seconds + 60, check=False,
        env=environment() | {"SERVER": server},
    ).returncode


def main():
    arguments = sys.argv[1:]
    seconds = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 150
    with tempfile.TemporaryDirectory(prefix="pinwire-schemathesis-") as scratch:
        directory = pathlib.Path(scratch)
        running = []
        try:
            own = hub(directory)
            running.append(own)
            server, key = seed(own)
            running.append(agent(directory, own.url, key))
            own.until(f"/api/v1/servers/{server}", lambda answer: answer["status"] == "online")
            # Before it is looked for what can be found: an address may register a few users and must then wait.
            token = user(own)
            # An operator's key first; what is about a user, and what a user may see, with a user's token then.
            status = look(own, seconds * 2 // 3, "X-API-Key", KEY, server, ["--exclude-path-regex", USERS, *arguments])
            server = own.ask("POST", "/api/v1/servers", {"name": "shed"}, token)["id"]
            own.ask("POST", f"/api/v1/metrics/{server}", SAMPLE, token)
            # The token is needed until the end, and this server has no agent.
            without = ["--exclude-operation-id", "logout", "--exclude-operation-id", "serverAction"]
            theirs = ["--include-path-regex", THEIRS, *without, *arguments]
            status |= look(own, seconds // 3, "Authorization", f"Bearer {token}", server, theirs)
        finally:
            ended = [process.stop() for process in reversed(running)]
        for process in running:
            if process.complaint():
                raise SystemExit(process.complaint())
        if not all(ended):
            logs = "\n".join(process.log.read_text() for process in running)
            raise SystemExit(f"one did not last until the end, or did not end with 0:\n{logs}")
        raise SystemExit(status)


if __name__ == "__main__":
    main()
