"""The daemon under test, over plain TCP and over TLS, and the clients that the tests share.

The binary is named by the environment variable PINWIRE. Every wait has the one limit LIMIT and waits for the
event itself. A daemon is ended by SIGTERM and must exit with 0, so every test also tests the shutdown.
"""

import asyncio
import json
import os
import pathlib
import selectors
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from websockets.asyncio.client import connect

# How long any single thing may take, in seconds.
LIMIT = 20

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"

# What the daemon listens to in its environment; the caller's must not get in.
OWN_ENVIRONMENT = ["PORT", "API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE", "ENABLE_INFO_SOCKET", "PINWIRE_API_KEY"]


def clean_environment():
    environment = {name: value for name, value in os.environ.items() if name not in OWN_ENVIRONMENT}
    return environment | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


def pinwire(*arguments):
    return [os.environ["PINWIRE"], *map(str, arguments)]


def first_line(process, stream):
    """The next line of a pipe, within LIMIT. Only for programs that flush whole lines."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(LIMIT):
            process.kill()
            raise TimeoutError(f"{process.args} said nothing within {LIMIT} s")
    return stream.readline()


# All WebSocket clients live in one thread. The `websockets` package has a client with threads of its own as well,
# but two threads in one TLS connection of Python's lose a write now and then, whatever the server.
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, name="clients", daemon=True).start()


def in_loop(coroutine):
    return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, LIMIT), LOOP).result()


class Client:
    """A client of the `websockets` package, to be used in a `with`. Each call has the limit."""

    def __init__(self, *arguments, **more):
        self.opening = arguments, more

    def __enter__(self):
        arguments, more = self.opening

        async def open():
            return await connect(*arguments, **more)

        self.connection = in_loop(open())
        return self

    def __exit__(self, *_):
        in_loop(self.connection.close())

    @property
    def local_address(self):
        return self.connection.local_address

    def send(self, message):
        in_loop(self.connection.send(message))

    def recv(self):
        return in_loop(self.connection.recv())

    def settle(self):
        """Returns when the daemon has acted on everything sent so far."""

        async def round_trip():
            await (await self.connection.ping())

        in_loop(round_trip())


class Daemon:
    """A running `pinwire serve` on a free port, with simulated pins."""

    def __init__(self, directory, certificate, *, config="", key="", root="/"):
        directory.mkdir()
        self.certificate, self.terminated = certificate, False
        self.context = ssl.create_default_context(cafile=certificate.cert) if certificate else None
        (directory / "pinwire.toml").write_text(config)
        command = pinwire("serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--root", root)
        command += ["--config", str(directory / "pinwire.toml")]
        if certificate:
            command += ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
        if key:
            key_file = directory / "api.key"
            key_file.write_text(key)
            key_file.chmod(0o600)
            command += ["--api-key-file", str(key_file)]
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment()
            )
        ready = first_line(self.process, self.process.stdout)
        scheme = "https" if certificate else "http"
        assert ready.startswith(f"listening on {scheme}://"), (ready, self.log.read_text())
        self.address = ready.strip().split("://")[1]
        self.http_url = f"{scheme}://{self.address}"
        self.ws_url = f"{'wss' if certificate else 'ws'}://{self.address}"

    def terminate(self):
        """SIGTERM, once: a second one ends the daemon at once and with 1."""
        if not self.terminated:
            self.terminated = True
            self.process.terminate()

    def stop(self):
        self.terminate()
        try:
            status = self.process.wait(LIMIT)
        finally:
            self.process.kill()
            self.process.stdout.close()
            print(self.log.read_text())  # shown where a test fails
        assert status == 0

    def ws(self, path, headers=None, max_queue=None, **more):
        # By default the package stops reading while 16 messages are unread, and then sees no Close either.
        return Client(
            self.ws_url + path,
            additional_headers=headers,
            ssl=self.context,
            open_timeout=LIMIT,
            close_timeout=LIMIT,
            proxy=None,
            max_queue=max_queue,
            **more,
        )

    def http(self, method, path, body=None, headers=None):
        """One request with urllib: status and body."""
        request = urllib.request.Request(self.http_url + path, body, headers or {}, method=method)
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=LIMIT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def command(self, command, *arguments):
        """The command line of one of the program's own clients, pointed at this daemon."""
        line = pinwire(command, "--url", self.ws_url, *arguments)
        return line + (["--ca", str(self.certificate.cert)] if self.certificate else [])


class Certificate:
    def __init__(self, directory):
        self.cert, self.key = directory / "cert.pem", directory / "key.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(self.key), "-out", str(self.cert)]
        subprocess.run(command.split() + names + files, check=True, capture_output=True, timeout=LIMIT)


@pytest.fixture(scope="session")
def openssl_certificate(tmp_path_factory):
    """One self-signed certificate, made as a person would make it."""
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def start(request, tmp_path):
    """Starts daemons; each test runs over plain TCP, and again over TLS."""
    certificate = request.getfixturevalue("openssl_certificate") if request.param == "tls" else None
    daemons = []

    def start(**settings):
        daemons.append(Daemon(tmp_path / f"daemon-{len(daemons)}", certificate, **settings))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop()


def receive(socket):
    """The next message of a socket, as JSON."""
    return json.loads(socket.recv())


def ask(socket, message):
    """Sends a request, or text as it is, and returns the next message."""
    socket.send(message if isinstance(message, str) else json.dumps(message))
    return receive(socket)
