"""No test of this folder reaches the real network."""

from __future__ import annotations

import urllib.request

import pytest
from fake_network import Network


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Unreachable unless a test gives it files."""
    network = Network()
    monkeypatch.setattr(urllib.request, 'urlopen', network.urlopen)
    return network
