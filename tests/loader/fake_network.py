"""A network and a disk that the tests can look into."""

from __future__ import annotations

import io
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


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


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
