#!/usr/bin/env python3
"""A /dev/vcio for the rig: answers the firmware's mailbox interface as a Raspberry Pi does, through CUSE.

    vcio.py STATE.json    returns when /dev/vcio is there, and prints the process that serves it until it is killed

The state is read again for every request, so a test changes what the firmware says by writing the file. Without
the file, or a key of it, the values are the ones below. Numbers may also be texts such as "0x50005".

    temperature throttled clock core voltage revision serial firmware    what is told; clock is that of the ARM cores
    errno     the ioctl fails with it
    status    the word for the whole request, 0x80000000 for success; 0x80000001 is the firmware's error
    short     tags whose answer lacks bit 31 in its length: not answered, though the request succeeds
    unknown   tags the firmware has never heard of; that too it says in their length only
    lengths   tags that claim another length than the answer has, e.g. {"0x30047": 4}
"""
import json
import os
import struct
import sys

VALUES = {
    "temperature": 48312,
    "throttled": 0x50005,
    "clock": 1500000000,
    "core": 500000000,
    "voltage": 860000,
    "revision": 0xC03114,
    "serial": 0x10000000ABCDEF01,
    "firmware": 1696000000,
    "errno": 0,
    "status": 0x80000000,
    "short": [],
    "unknown": [],
    "lengths": {},
}

CORE = 4  # the VideoCore's clock; the ARM cores' is 3

# Operations of the FUSE protocol, of which CUSE is a part.
FORGET, OPEN, RELEASE, FLUSH, INTERRUPT, IOCTL, INIT = 2, 14, 18, 25, 36, 39, 4096
UNRESTRICTED_IOCTL, RETRY = 1, 4
EINVAL, ENOTTY, ENOSYS = 22, 25, 38


def number(value):
    return int(value, 0) if isinstance(value, str) else value


def state(path):
    values = dict(VALUES)
    try:
        with open(path) as file:
            values.update(json.load(file))
    except (OSError, ValueError):
        pass  # not there yet, or half written
    for key in ("short", "unknown"):
        values[key] = [number(tag) for tag in values[key]]
    values["lengths"] = {number(tag): length for tag, length in values["lengths"].items()}
    return {key: number(value) for key, value in values.items()}


def gencmd(values, question):
    """What vcgencmd would print."""
    texts = {
        "get_throttled": "throttled=0x%x" % values["throttled"],
        "measure_temp": "temp=%.1f'C" % (values["temperature"] / 1000),
        "measure_clock arm": "frequency(48)=%d" % values["clock"],
        "measure_clock core": "frequency(1)=%d" % values["core"],
        "measure_volts": "volt=%.4fV" % (values["voltage"] / 1000000),
    }
    text = texts.get(question)
    unknown = 'error=1 error_msg="Command not registered"'
    return struct.pack("<I", 0 if text else 1) + (text or unknown).encode() + b"\0"


def value_of(values, tag, given):
    """The answer to one tag, or None for one the firmware does not know."""
    first = given[:4].ljust(4, b"\0")
    clock = values["core" if struct.unpack("<I", first)[0] == CORE else "clock"]
    answers = {
        0x00001: struct.pack("<I", values["firmware"]),
        0x10002: struct.pack("<I", values["revision"]),
        0x10004: struct.pack("<Q", values["serial"]),
        0x30002: first + struct.pack("<I", clock),
        0x30003: first + struct.pack("<I", values["voltage"]),
        0x30006: first + struct.pack("<I", values["temperature"]),
        0x3000A: first + struct.pack("<I", 85000),
        0x30046: struct.pack("<I", values["throttled"]),
        # The measured clock is never quite the one that was set.
        0x30047: first + struct.pack("<I", max(clock - 17, 0)),
    }
    if tag in values["unknown"]:
        return None
    if tag == 0x30080:
        return gencmd(values, given[4:].split(b"\0")[0].decode())
    return answers.get(tag)


def answered(request, values):
    """A property buffer as the firmware leaves it: size, status, then tags of (id, size, length, value)."""
    buffer = bytearray(request)
    at = 8
    while at + 12 <= len(buffer):
        tag, size = struct.unpack_from("<II", buffer, at)
        if tag == 0:
            break
        value = value_of(values, tag, bytes(buffer[at + 12 : at + 12 + size]))
        if value is None:
            struct.pack_into("<I", buffer, at + 8, 0)
        else:
            fits = value[:size]
            buffer[at + 12 : at + 12 + len(fits)] = fits
            done = 0 if tag in values["short"] else 0x80000000
            struct.pack_into("<I", buffer, at + 8, done | values["lengths"].get(tag, len(value)))
        at += 12 + (size + 3 & ~3)
    struct.pack_into("<I", buffer, 4, values["status"])
    return bytes(buffer)


def ioctl(body, path):
    """One round of an ioctl: an error number and an answer. The kernel asks again with the memory we ask for."""
    _, _, command, argument, given, _ = struct.unpack_from("<QIIQII", body)
    data = body[32 : 32 + given]
    values = state(path)
    if command & 0xFFFF != 100 << 8:
        return ENOTTY, b""
    if values["errno"]:
        return values["errno"], b""
    if given == 0:  # the first word, which is the size
        return 0, struct.pack("<iIII", 0, RETRY, 1, 0) + struct.pack("<QQ", argument, 4)
    if given == 4:  # all of it, in and out
        (size,) = struct.unpack("<I", data)
        if not 12 <= size <= 65536:
            return EINVAL, b""
        return 0, struct.pack("<iIII", 0, RETRY, 1, 1) + struct.pack("<QQ", argument, size) * 2
    return 0, struct.pack("<iIII", 0, 0, 0, 0) + answered(data, values)


def serve(path, ready):
    device = os.open("/dev/cuse", os.O_RDWR)
    while True:
        request = os.read(device, 1 << 17)
        length, operation, unique = struct.unpack_from("<IIQ", request)
        body, error, answer = request[40:length], 0, b""
        if operation in (FORGET, INTERRUPT):
            continue  # no answer is expected
        if operation == INIT:
            answer = struct.pack("<IIIIIIII", 7, 31, 0, UNRESTRICTED_IOCTL, 65536, 65536, 0, 0)
            answer += bytes(40) + b"DEVNAME=vcio\0"
        elif operation == OPEN:
            answer = struct.pack("<QII", 1, 0, 0)
        elif operation == IOCTL:
            error, answer = ioctl(body, path)
        elif operation not in (RELEASE, FLUSH):
            error = ENOSYS
        os.write(device, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)
        if operation == INIT:
            # The device was made while that answer was written.
            os.write(ready, b".")
            os.close(ready)


def main():
    path = os.path.abspath(sys.argv[1])
    waiting, ready = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(waiting)
        # Whoever waits for our output to end must not wait for this process.
        os.setsid()
        for stream in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        serve(path, ready)
    os.close(ready)
    if not os.read(waiting, 1):
        sys.exit("no answer from /dev/cuse")
    print(server)


main()
