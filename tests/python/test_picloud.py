"""PiCloud with the `websockets` client: publish and subscribe, the list of who is there, and a client that never
reads. Then with PiCloud's own client."""

import json
import re
import socket as sockets
import time

import picloud_client
import pytest
from conftest import LIMIT, receive
from websockets.exceptions import ConnectionClosed

QUICK_INFO = '[picloud]\ninfo_interval = "50ms"\n'


def subscribe(socket, *events):
    for event in events:
        socket.send(json.dumps({"action": "subscribe", "event": event}))
    socket.settle()


def publish(socket, event, data):
    socket.send(json.dumps({"event": event, "data": data}))


def post(daemon, event, data):
    return daemon.http("POST", "/publish?clientName=script", json.dumps({"event": event, "data": data}).encode())


def names(connections):
    return sorted(connection["client_name"] for connection in connections)


def info_where(info, fits):
    """Reads /info until it shows what fits."""
    until = time.monotonic() + LIMIT
    while not fits(shown := receive(info)):
        assert time.monotonic() < until, shown
    return shown


def test_two_clients_and_an_http_post_exchange_events(start):
    daemon = start(config=QUICK_INFO)
    with (
        daemon.ws("/subscribe?clientName=panel") as panel,
        daemon.ws("/subscribe?clientName=porch") as porch,
        daemon.ws("/publish?clientName=porch") as porch_out,
    ):
        subscribe(panel, "door", "window")
        subscribe(porch, "door")

        publish(porch_out, "door", "open")
        for socket in [panel, porch]:
            event = receive(socket)
            created_at = event.pop("created_at")
            assert event == {"action": "publish", "event": "door", "data": "open"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", created_at)

        assert post(daemon, "window", "shut") == (201, "")
        assert post(daemon, "door", "shut") == (201, "")
        assert [receive(panel)["data"] for _ in range(2)] == ["shut", "shut"]
        assert receive(porch)["event"] == "door", "the window was not for the porch"

        with daemon.ws("/info") as info:
            shown = receive(info)
            assert receive(info)["all_connections"] == shown["all_connections"], "and again, after a moment"
        assert names(shown["all_connections"]) == ["panel", "porch", "porch"]
        listed = {entry["name"]: names(entry["connections"]) for entry in shown["subscriptions"]}
        assert listed == {"door": ["panel", "porch"], "window": ["panel"]}
        host, port = panel.local_address
        (entry,) = [entry for entry in shown["all_connections"] if entry["client_name"] == "panel"]
        assert entry["ip_address"] == f"{host}:{port}"
        assert {"connected_at", "ip_address", "client_name"} == set(entry)

        panel.send('{"action":"unsubscribe","event":"door"}')
        panel.settle()
        post(daemon, "door", "ajar")
        post(daemon, "window", "ajar")
        assert receive(panel)["event"] == "window"
    status, _ = daemon.http("POST", "/publish?clientName=script", b"{")
    assert status == 400


def test_a_client_that_never_reads_disturbs_nobody_and_is_cut(start):
    daemon = start(config=QUICK_INFO)
    events, block = 200, "x" * 30_000
    # A small window and no queue: what it does not read soon waits in the daemon.
    deaf_socket = sockets.socket()
    deaf_socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    host, port = daemon.address.split(":")
    deaf_socket.connect((host, int(port)))
    deaf_socket.setblocking(False)
    with (
        daemon.ws("/subscribe?clientName=deaf", sock=deaf_socket, max_queue=1) as deaf,
        daemon.ws("/subscribe?clientName=panel") as panel,
        daemon.ws("/subscribe?clientName=porch") as porch,
        daemon.ws("/publish?clientName=porch") as porch_out,
        daemon.ws("/info") as info,
    ):
        for socket in [deaf, panel, porch]:
            subscribe(socket, "block")
        info_where(info, lambda shown: "deaf" in names(shown["all_connections"]))
        for number in range(events):
            publish(porch_out, "block", f"{number} {block}")
            for socket in [panel, porch]:
                assert receive(socket)["data"].split()[0] == str(number)
        info_where(info, lambda shown: "deaf" not in names(shown["all_connections"]))

        heard = 0
        with pytest.raises(ConnectionClosed) as end:
            while receive(deaf):
                heard += 1
        assert heard < events
        # Told why, unless its window was too full for the Close frame to pass before the end.
        assert end.value.rcvd is None or end.value.rcvd.code == 4008

        # And the others are still there.
        assert post(daemon, "block", "last") == (201, "")
        assert [receive(socket)["data"] for socket in [panel, porch]] == ["last", "last"]


KEY = "a-key-of-many-letters"


@pytest.fixture
def official(start, monkeypatch):
    """A daemon with a key, and PiCloud's own client made to trust its certificate."""
    daemon = start(key=KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    if daemon.certificate:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(daemon.certificate.cert))
        monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(daemon.certificate.cert))
    return daemon


def test_picloud_own_client_works_unchanged(official):
    http = picloud_client.HttpClient(official.http_url, KEY, "thermometer")
    client = picloud_client.SocketClient(official.ws_url, KEY, "house")
    client._sub_connection._conn.settimeout(LIMIT)
    heard = []
    client.subscribe("door", lambda data: heard.append(("door", data)))
    client.subscribe("celsius", lambda data: heard.append(("celsius", data)))
    # Subscriptions are not acknowledged, and the client publishes on its other socket: a pong says that they hold.
    client._sub_connection._conn.ping("settled")
    assert client._sub_connection._conn.recv_data(control_frame=True) == (10, b"settled")

    client.publish("door", "open")
    client.process_subscriptions()
    http.publish("celsius", "21.5")
    client.process_subscriptions()
    assert heard == [("door", "open"), ("celsius", "21.5")]

    headers = {"X-API-Key": KEY}
    with official.ws("/info", headers) as info:
        assert names(receive(info)["all_connections"]) == ["house", "house"]
    client._sub_connection.close()
    client._pub_connection.close()


def test_picloud_own_client_is_told_of_a_refusal(official):
    for key, event in [("a-wrong-key", "door"), (KEY, ""), (KEY, "gpio.state.changed")]:
        with pytest.raises(picloud_client.PublishError):
            picloud_client.HttpClient(official.http_url, key, "house").publish(event, "open")
    with pytest.raises(Exception, match="401"):
        picloud_client.SocketClient(official.ws_url, "a-wrong-key", "house")
    with pytest.raises(Exception, match="401"):
        picloud_client.SocketClient(official.ws_url, KEY, "")
