"""Connections of a hostile client: cut off after their time while others are served."""

import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.attacks.fortress import ADMIN, CLIENT, fortress, holds, raw, statuses

HOST = b"Host: a\r\n"
KEY = b"X-API-Key: " + ADMIN.encode() + b"\r\n"
EVENTS = b"POST /api/v1/events HTTP/1.1\r\n" + HOST + KEY
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def it():
    with fortress(header_seconds=0.5, body_seconds=0.5, max_connections=30) as it:
        yield it


@pytest.fixture(autouse=True)
def unharmed(it):
    before = holds(it)
    yield
    assert it.http.get("/readyz").status_code == 200
    assert holds(it) == before


SLOW = {
    "nothing at all": (b"", []),
    "half a line": (b"GET /heal", [408]),
    "headers without an end": (HEALTH + b"X: y", [408]),
    "a body of events that does not come": (EVENTS + b"Content-Length: 9\r\n\r\n[", [408]),
    "chunks that do not end": (EVENTS + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", [408]),
    "a body of ours that does not come": (
        b"POST /api/v1/suspension HTTP/1.1\r\n" + HOST + KEY + b"Content-Length: 9\r\n\r\n{",
        [408],
    ),
    "a body that was refused already": (
        b"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\n" + HOST + b"Content-Length: 999\r\n\r\n{",
        [401],
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_request_that_does_not_arrive_is_cut_off(it, name):
    sent, expected = SLOW[name]
    begun = time.monotonic()
    got = raw(it, sent, wait=20)
    assert time.monotonic() - begun < 15
    assert statuses(got) == expected, got
    assert b'"error' in got or not expected


def test_others_are_served_while_many_dribble(it):
    where = urlsplit(it.url)
    held = [socket.create_connection((where.hostname, where.port)) for _ in range(20)]
    try:
        for each in held:
            each.sendall(HEALTH)  # its headers never end
        for _ in range(5):
            assert it.http.get("/healthz").status_code == 200
        for each in held:
            each.settimeout(20)
            assert b" 408 " in each.recv(4096)
    finally:
        for each in held:
            each.close()


def test_more_connections_than_there_may_be_are_told_to_come_back(it):
    assert it.http.get("/healthz").status_code == 200  # this one stays open
    where = urlsplit(it.url)
    held = [socket.create_connection((where.hostname, where.port)) for _ in range(40)]
    try:
        held[-1].settimeout(10)
        told = held[-1].recv(4096)
        assert b" 503 " in told
        assert b"retry-after: 1" in told
        assert it.http.get("/healthz").status_code == 200
    finally:
        for each in held:
            each.close()


def test_a_client_that_does_not_read_holds_nobody_up(it):
    where = urlsplit(it.url)
    with socket.create_connection((where.hostname, where.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask = b"GET /openapi.json HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
        deaf.sendall(ask * 20)
        for _ in range(5):
            assert it.http.get("/healthz").status_code == 200


REFUSED = {
    "a large header": (HEALTH + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "a header without an end": (HEALTH + b"X: " + b"a" * 500_000, 431),
    "many headers": (HEALTH + b"X: a\r\n" * 200 + b"\r\n", 431),
    "a long address": (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "length and chunks": (
        EVENTS + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEALTH,
        400,
    ),
    "chunks and length": (
        EVENTS + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HEALTH,
        400,
    ),
    "two lengths": (EVENTS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]" + HEALTH, 400),
    "a list of lengths": (EVENTS + b"Content-Length: 2, 2\r\n\r\n[]" + HEALTH, 400),
    "a length with a sign": (EVENTS + b"Content-Length: +2\r\n\r\n[]" + HEALTH, 400),
    "a length in hexadecimal": (EVENTS + b"Content-Length: 0x2\r\n\r\n[]" + HEALTH, 400),
    "chunks by another name": (EVENTS + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n[]\r\n", 400),
    "chunks not last": (EVENTS + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n[]\r\n", 400),
    "a chunk with a sign": (EVENTS + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n[]\r\n", 400),
    "a huge chunk": (EVENTS + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n[", 400),
    "a space before the colon": (EVENTS + b"Content-Length : 2\r\n\r\n[]", 400),
    "a folded header": (HEALTH + b"X: a\r\n b\r\n\r\n", 400),
    "lines without returns": (b"GET /healthz HTTP/1.1\nHost: a\n\n", 400),
    "a NUL in a header": (HEALTH + b"X: a\0b\r\n\r\n", 400),
    "a NUL in the address": (b"GET /healthz\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60, 400),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a body behind an upgrade": (
        EVENTS + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 60\r\n\r\n" + HEALTH,
        400,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_read_in_two_ways_is_refused_and_ends_the_connection(it, name):
    sent, status = REFUSED[name]
    got = raw(it, sent, wait=10)
    assert statuses(got) == [status], got[:400]
    assert b"connection: close" in got
    assert b'{"error":{"code":"' in got


def test_hundreds_of_requests_at_once_on_one_connection_end_it(it):
    got = raw(it, (HEALTH + b"\r\n") * 1_000, wait=10)
    assert len(statuses(got)) < 1_000


def test_a_body_that_nobody_asked_for_is_no_request(it):
    hidden = b"GET /api/v1/keys HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(hidden)
    got = raw(it, HEALTH + length + hidden + HEALTH + b"Connection: close\r\n\r\n", wait=10)
    assert statuses(got) == [200, 200]
    assert b'"keys"' not in got


def test_a_stream_is_no_slow_request(it):
    ask = f"GET /sub/{CLIENT} HTTP/1.1\r\n".encode() + HOST + b"\r\n"
    got = raw(it, ask, wait=3)
    assert statuses(got) == [200]
    assert b"event: features" in got
    assert b"408" not in got
