"""An agent written from ChatOps' "WebSocket API" page alone, run by the `websockets` package."""

import json
import threading

import pytest
from conftest import LIMIT, ask, receive

KEY = "0123456789abcdef0123456789abcdef"

# What the page prints, word for word.
FLAT = {
    "type": "metrics",
    "server_id": "uuid",
    "cpu_percent": 45.2,
    "memory_percent": 62.5,
    "disk_usage": [],
    "network": [],
    "timestamp": "2024-01-01T00:00:00Z",
}


class Hub:
    """The REST that an owner needs to bring an agent in and to ask it for something."""

    def __init__(self, daemon):
        self.daemon = daemon

    def rest(self, method, path, body=None):
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        status, text = self.daemon.http(method, "/api/v1" + path, data, headers)
        return status, json.loads(text) if text else None

    def made(self, path, body):
        status, answer = self.rest("POST", path, body)
        assert status == 201, answer
        return answer

    def agent(self):
        server = self.made("/servers", {"name": "by-the-page"})["id"]
        return server, self.made("/api-keys", {"server_id": server})["key"]

    def order(self, path, body=None):
        """Asks in a thread of its own, as a browser would; `.result()` is the answer."""
        return Order(lambda: self.rest("POST", path, body))


class Order(threading.Thread):
    def __init__(self, ask):
        super().__init__()
        self.ask, self.answer = ask, None
        self.start()

    def run(self):
        self.answer = self.ask()

    def result(self):
        self.join(LIMIT)
        return self.answer


@pytest.fixture
def hub(start):
    return Hub(start(key=KEY))


def test_an_agent_written_from_the_page_works(hub):
    server, key = hub.agent()
    with hub.daemon.ws("/api/v1/agents/ws") as socket:
        welcome = ask(socket, {"type": "auth", "api_key": key})
        assert welcome == {"type": "auth_success", "server_id": server, "message": "Connected successfully"}
        # The acknowledgement is not on the page; who goes by types passes over it.
        socket.send(json.dumps(FLAT | {"server_id": server}))
        assert receive(socket)["type"] == "metrics_received"
        status, latest = hub.rest("GET", f"/metrics/{server}")
        assert (status, latest["cpu_percent"], latest["memory_percent"]) == (200, 45.2, 62.5)

        order = hub.order(f"/commands/{server}", {"command": "ls -la"})
        command = receive(socket)
        assert (command["type"], command["command"]) == ("command", "ls -la")
        reply = {"output": "total 100\n...", "exit_code": 0, "duration_ms": 150}
        socket.send(json.dumps({"type": "command_response", "command_id": command["command_id"]} | reply))
        status, answer = order.result()
        assert status == 200 and answer["success"] and reply.items() <= answer.items()

        order = hub.order(f"/docker/{server}/containers/web/start")
        command = receive(socket)
        assert (command["type"], command["action"], command["container_id"]) == ("docker_command", "start", "web")
        done = {"type": "docker_response", "command_id": command["command_id"], "success": True}
        socket.send(json.dumps(done | {"message": "Container started"}))
        assert order.result() == (200, {"status": "success", "message": "Container started successfully"})

        error = ask(socket, "no JSON")
        assert (error["type"], error["message"]) == ("error", "Invalid message format")
        assert hub.rest("GET", f"/servers/{server}")[1]["status"] == "online"


def test_a_wrong_key_is_told_so_as_the_page_says(hub):
    with hub.daemon.ws("/api/v1/agents/ws") as socket:
        refused = ask(socket, {"type": "auth", "api_key": "your-api-key-here"})
        assert refused == {"type": "error", "message": "Invalid or inactive API key"}
