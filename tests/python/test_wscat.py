"""What a person with a shell does first: wscat, named by the environment variable WSCAT."""

import json
import os
import subprocess

import pytest
from conftest import first_line

WSCAT = os.environ.get("WSCAT")
pytestmark = pytest.mark.skipif(not WSCAT, reason="WSCAT names no wscat")


def wscat_answer(daemon, *arguments):
    """Runs wscat until its first answer. It takes the end of its standard input for its own, so that stays open."""
    command = [WSCAT, "--no-color", "-c", daemon.ws_url + "/", *arguments]
    if daemon.certificate:
        command += ["--ca", str(daemon.certificate.cert)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **pipes) as wscat:
        try:
            line = first_line(wscat, wscat.stdout)
        finally:
            wscat.kill()
    return json.loads(line[line.index("{") :])


def test_wscat_reads_this_machines_memory(start):
    answer = wscat_answer(start(), "-x", '{"action":"READ_MEMORY"}')
    assert answer["success"] and answer["error"] is None, answer
    with open("/proc/meminfo") as meminfo:
        total = next(int(line.split()[1]) for line in meminfo if line.startswith("MemTotal:"))
    assert answer["data"]["total"] == {"quantity": float(total), "prefix": "KILO", "unitOfMeasurement": "BYTE"}
    assert 0 < answer["data"]["free"]["quantity"] < total


def test_wscat_shows_an_error_as_the_document_has_it(start):
    answer = wscat_answer(start(), "-x", '{"action":"READ_MEMORIES"}')
    assert (answer["action"], answer["success"], answer["data"]) == (None, False, None)
    assert isinstance(answer["error"], str)
