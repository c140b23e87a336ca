"""Live events: on `/ws` as a Pi-Controller browser client reads them, and in `pinwire watch`."""

import json
import re
import subprocess

import pytest
from conftest import LIMIT, ask, clean_environment, first_line, receive
from websockets.exceptions import InvalidStatus

LED = "[gpio.pins.led-1]\npin = 18\n"


def set_pin(socket, pin, state):
    pins = {pin: {"io": "OUTPUT", "state": state}}
    answer = ask(socket, {"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}})
    assert answer["success"], answer


class BrowserClient:
    """A page's client as the document has it: opens `/ws`, asks for nothing, and takes each message by its type."""

    def __init__(self, daemon, path="/ws", origin=None):
        self.connecting = daemon.ws(path, origin=origin or daemon.http_url)

    def __enter__(self):
        self.socket = self.connecting.__enter__()
        # The handshake is answered a moment before the events begin.
        self.socket.settle()
        return self

    def __exit__(self, *end):
        self.connecting.__exit__(*end)

    def next(self, kind):
        while (message := receive(self.socket))["type"] != kind:
            self.check(message)
        self.check(message)
        return message

    @staticmethod
    def check(message):
        assert isinstance(message["data"], dict), message
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", message["timestamp"]), message


def test_a_browser_gets_the_documented_events_without_asking(start):
    daemon = start(config=LED)
    with daemon.ws("/") as endrpi, BrowserClient(daemon) as browser:
        ready = browser.next("node.status.changed")
        assert ready["data"]["status"] == "ready" and ready["data"]["node_id"], ready
        set_pin(endrpi, "GPIO18", 1)
        event = browser.next("gpio.state.changed")
        assert event["data"] == {"resource": "led-1", "pin": 18, "state": "high"}
        assert event["resource"] == "led-1"
        status, _ = daemon.http("PUT", "/pins/GPIO18", b'{"io":"OUTPUT","state":0}', {"Content-Type": "application/json"})
        assert status == 200
        assert browser.next("gpio.state.changed")["data"]["state"] == "low"


def test_a_page_from_elsewhere_gets_nothing_until_it_is_listed(start):
    page = "https://panel.example:8443"
    with pytest.raises(InvalidStatus) as refused, BrowserClient(start(), origin=page):
        pass
    assert refused.value.response.status_code == 403
    listed = start(config=f'[front]\norigins = ["{page}"]\n')
    with BrowserClient(listed, origin=page) as browser:
        browser.next("node.status.changed")


def test_a_stopping_daemon_says_so_and_closes_with_1001(start):
    daemon = start()
    with BrowserClient(daemon, "/ws?types=node.**") as browser:
        assert browser.next("node.status.changed")["data"]["status"] == "ready"
        daemon.terminate()
        assert browser.next("node.status.changed")["data"]["status"] == "stopping"
        with pytest.raises(Exception) as end:
            receive(browser.socket)
        assert end.value.rcvd.code == 1001


def test_a_pin_update_on_one_socket_appears_on_ws_and_in_pinwire_watch(start):
    daemon = start(config=LED)
    command = daemon.command("watch", "--count", 2, "gpio.**")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=clean_environment(), **pipes) as watch:
        try:
            said = first_line(watch, watch.stderr)
            assert said.startswith("watching gpio.**"), said
            with daemon.ws("/") as endrpi, BrowserClient(daemon, "/ws?types=gpio.**") as browser:
                for pin, state in [("GPIO18", 1), ("GPIO23", 1)]:
                    set_pin(endrpi, pin, state)
                shown = [browser.next("gpio.state.changed")["data"] for _ in range(2)]
            lines, errors = watch.communicate(timeout=LIMIT)
        finally:
            watch.kill()
    assert watch.returncode == 0, errors
    watched = [json.loads(line) for line in lines.splitlines()]
    assert [event["data"] for event in watched] == shown
    assert [(event["pin"], event["state"]) for event in shown] == [(18, "high"), (23, "high")]
    assert shown[0]["resource"] == "led-1"
