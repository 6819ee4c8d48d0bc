"""What is remembered of peers that call the HTTP port wrongly is bounded."""

import logging

import pytest

from kusciajob.api.http import log as http_log

TLS = b"\x16\x03\x01\x02\x00"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_a_peer_is_told_once_for_each_slip(caplog: pytest.LogCaptureFixture) -> None:
    log = http_log.SlipLog()
    for _ in range(3):
        for peer in ("192.0.2.1", "192.0.2.2"):
            for start in (TLS, HTTP2):
                assert log.note_start(peer, start, is_tls=False)
    assert [(record.levelno, record.getMessage().split()[0]) for record in caplog.records] == [
        (logging.WARNING, peer) for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2")
    ]


def test_only_the_last_peers_are_remembered(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_log, "MAX_PEERS", 2)
    log = http_log.SlipLog()
    for peer in ("first", "second", "second", "third", "third", "first"):
        log.note_start(peer, TLS, is_tls=False)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["first", "second", "third", "first"]


def test_http_is_no_slip(caplog: pytest.LogCaptureFixture) -> None:
    log = http_log.SlipLog()
    for start in (b"GET / HTTP/1.1\r\n", b"", b"\x16", TLS[:1]):
        assert not log.note_start("192.0.2.1", start, is_tls=False)
    assert not log.note_start("192.0.2.1", TLS, is_tls=True)
    assert caplog.records == []
