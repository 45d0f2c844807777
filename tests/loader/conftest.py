"""A network that the tests control: no test of this folder reaches the real one."""

from __future__ import annotations

import io
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest


class Response(io.BytesIO):
    """What urlopen gives back."""

    def info(self) -> dict[str, int]:
        return {'Content-Length': len(self.getvalue())}


class Network:
    """Serves files by the last part of their address; what it has not got cannot be reached."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken_by: BaseException = urllib.error.URLError('no route to host')
        self.timeouts: list[float | None] = []

    def serve(self, *paths: Path) -> None:
        self.files.update({path.name: path.read_bytes() for path in paths})

    def urlopen(self, url: str, *_: Any, **__: Any) -> Response:
        self.timeouts.append(socket.getdefaulttimeout())
        name = url.rpartition('/')[2].replace('%20', ' ')
        if name not in self.files:
            raise self.broken_by
        return Response(self.files[name])


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Unreachable unless a test gives it files."""
    network = Network()
    monkeypatch.setattr(urllib.request, 'urlopen', network.urlopen)
    return network
