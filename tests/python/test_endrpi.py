"""Endrpi's documented messages with the `websockets` client, and its REST twin with urllib."""

import json

import pytest
from conftest import FIXTURES, ask

PI4 = FIXTURES / "pi4"

VCGENCMD = """#!/bin/sh
case "$*" in
"get_throttled") echo throttled=0x50005 ;;
"measure_clock arm") echo "frequency(48)=1500398464" ;;
"measure_clock core") echo "frequency(1)=500000992" ;;
esac
"""

# As printed in Endrpi's documentation: the members, and their order.
PINS_REQUEST = """
{
  "action": "READ_PIN_CONFIGURATIONS",
  "params": {
    "pins": [ "GPIO17", "GPIO15" ]
  }
}
"""
PINS_RESPONSE = """
{
  "action": "READ_PIN_CONFIGURATIONS",
  "success": true,
  "data": {
    "GPIO17": {
      "io": "OUTPUT",
      "state": 1.0,
      "pull": "FLOATING"
    },
    "GPIO15": {
      "io": "OUTPUT",
      "state": 1.0,
      "pull": "FLOATING"
    }
  },
  "error": null
}
"""


def ordered(text):
    """JSON with the order of its members."""
    return json.loads(text, object_pairs_hook=list)


@pytest.fixture
def pi4(start, tmp_path):
    """A daemon that reads a captured Pi 4, whose firmware answers."""
    program = tmp_path / "vcgencmd"
    program.write_text(VCGENCMD)
    program.chmod(0o755)
    return start(root=PI4, config=f"[telemetry]\nvcgencmd = '{program}'\n")


def test_the_documented_temperature_messages_answer_as_printed(pi4):
    with pi4.ws("/") as socket:
        for action in ["GET_TEMPERATURE", "READ_TEMPERATURE"]:
            socket.send(json.dumps({"action": action}))
            celsius = [("quantity", 48.312), ("prefix", None), ("unitOfMeasurement", "CELSIUS")]
            assert ordered(socket.recv()) == [
                ("action", action),
                ("success", True),
                ("data", [("systemOnChip", celsius)]),
                ("error", None),
            ]


def test_the_documented_pin_messages_answer_as_printed(pi4):
    output = {"io": "OUTPUT", "state": 1}
    update = {"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {"GPIO17": output, "GPIO15": output}}}
    with pi4.ws("/") as socket:
        answer = ask(socket, update)
        assert answer["success"] and answer["data"] == "Pin configurations updated", answer
        socket.send(PINS_REQUEST)
        assert ordered(socket.recv()) == ordered(PINS_RESPONSE)


def test_every_documented_action_answers_with_its_model(pi4):
    with pi4.ws("/") as socket:
        data = {}
        for name in ["TEMPERATURE", "THROTTLE", "UPTIME", "FREQUENCY", "MEMORY"]:
            answer = ask(socket, {"action": f"READ_{name}", "params": None})
            assert list(answer) == ["action", "success", "data", "error"]
            assert answer["success"] and answer["error"] is None, answer
            data[name] = answer["data"]
    assert list(data["THROTTLE"].values()).count(True) >= 1 and len(data["THROTTLE"]) == 8
    assert list(data["UPTIME"]) == ["seconds", "formatted"]
    assert {part["unitOfMeasurement"] for part in data["FREQUENCY"].values()} == {"HERTZ"}
    assert data["FREQUENCY"]["core"]["quantity"] == 500000992.0
    total = next(line.split()[1] for line in (PI4 / "proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert data["MEMORY"]["total"] == {"quantity": float(total), "prefix": "KILO", "unitOfMeasurement": "BYTE"}


def test_errors_are_strings_and_the_socket_lives_on(start):
    daemon = start()
    with daemon.ws("/") as socket:
        assert ask(socket, "{") == {
            "action": None,
            "success": False,
            "data": None,
            "error": "Received invalid message",
        }
        assert ask(socket, {"action": "DANCE"})["error"] == "Received message with invalid 'action' field"
        unknown = {"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": ["GPIO99"]}}
        assert ask(socket, unknown)["error"] == "Received message with invalid 'params' field"
        socket.send(b'{"action":"READ_UPTIME","id":7}')
        answer = json.loads(socket.recv())
        assert answer["success"] and answer["id"] == 7, "binary is treated as text, an id is echoed"


def test_the_rest_twin_answers_urllib(pi4):
    def get(path):
        status, body = pi4.http("GET", path)
        return status, json.loads(body)

    status, system = get("/system")
    assert status == 200, system
    assert list(system) == ["platform", "temperature", "throttle", "uptime", "frequency", "memory"]
    for part in system:
        assert get(f"/system/{part}")[0] == 200
    status, pins = get("/pins")
    assert status == 200 and len(pins) == 26 and "GPIO8" in pins

    def put(pin, configuration):
        body = json.dumps(configuration).encode()
        status, body = pi4.http("PUT", f"/pins/{pin}", body, {"Content-Type": "application/json"})
        return status, json.loads(body)["message"]

    updated = "Pin configuration for pin `GPIO17` was updated successfully"
    assert put("GPIO17", {"io": "INPUT", "pull": "UP"}) == (200, updated)
    assert get("/pins/GPIO17") == (200, {"io": "INPUT", "state": 1.0, "pull": "UP"})
    assert put("GPIO17", {"io": "INPUT"}) == (400, "No pull specified for input pin configuration")
    missing = "Pin with BCM pin number `GPIO99` not found"
    assert get("/pins/GPIO99") == (404, {"message": missing})
    with pi4.ws("/") as socket:
        request = {"action": "READ_PIN_CONFIGURATIONS", "params": {"pins": ["GPIO17"]}}
        assert ask(socket, request)["data"] == {"GPIO17": {"io": "INPUT", "state": 1.0, "pull": "UP"}}
