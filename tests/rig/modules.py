#!/usr/bin/env python3
"""modules.py TREE DIRECTORY MODULE…: copies kernel modules and what they need, unpacked, numbered in loading order.

Reads the dependencies from the modules themselves, because the tree comes from a package that was not installed.
"""
import lzma
import os
import re
import sys


def main():
    tree, directory, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    found = {}
    for place, _, files in os.walk(tree):
        for file in files:
            match = re.fullmatch(r"(.+)\.ko(\.xz)?", file)
            if match:
                found[match[1].replace("-", "_")] = os.path.join(place, file)
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name in order:
            return
        if name not in found:
            sys.exit(f"no module {name} below {tree}")
        with open(found[name], "rb") as file:
            content = file.read()
        if found[name].endswith(".xz"):
            content = lzma.decompress(content)
        needed = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in needed[1].decode().split(",") if needed else []:
            if other:
                add(other)
        order.append(name)
        with open(os.path.join(directory, f"{len(order):02}-{name}.ko"), "wb") as file:
            file.write(content)

    for name in wanted:
        add(name)
    print(" ".join(order))


main()
