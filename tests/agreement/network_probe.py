"""Inside the sandbox: makes connections as any program would, by name, and prints what it reached. It knows no proxy."""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def reach(attempt: tuple[int, str, str, int, str, str]) -> str:
    number, kind, host, port, method, path = attempt
    try:
        with socket.create_connection((host, port), timeout=10) as connection:
            if kind == "http":
                request = (
                    f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                connection.sendall(request.encode())
            data = b""
            while b"reached" not in data or not data.endswith(b"\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
        told = data.decode().rstrip("\n").rpartition("reached ")[2] if b"reached " in data else "refused"
    except OSError as error:
        told = type(error).__name__
    return f"{number} {told}"


with ThreadPoolExecutor(8) as pool:
    for line in pool.map(reach, json.load(sys.stdin)):
        print(line)
