"""The reader of the loop against Gunicorn's own parser: an equal environ, or None."""

from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from slipway.web.worker.connection import IDLE, READING, Client
from slipway.web.worker.request_parser import MAX_HEAD, IncompleteError, Reader

ADDRESS, SERVER = ("127.0.0.1", 50_000), ("127.0.0.1", 8000)
TYPICAL = {
    "curl": [b"User-Agent: curl/7.88.1", b"Accept: */*"],
    "requests": [
        *(b"User-Agent: python-requests/2.32.5", b"Accept-Encoding: gzip, deflate"),
        *(b"Accept: */*", b"Connection: keep-alive"),
    ],
    "browser": [
        *(b"Connection: keep-alive", b'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"'),
        *(b"sec-ch-ua-mobile: ?0", b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) Safari/537.36"),
        *(b"Accept: */*", b"Origin: https://a.example", b"Sec-Fetch-Site: same-origin"),
        *(b"Referer: https://a.example/apidocs/?a=b#c", b"Accept-Language: de;q=0.8"),
        *(b"Cookie: a=b; c=d", b"DNT: 1", b"X-Forwarded-Proto: https", b"Accept-Charset:"),
    ],
}
UNUSUAL = [
    *(b"Host: b", b"Content-Type: b", b"A_B: c", b"Transfer-Encoding: chunked", b"Upgrade: x"),
    *(
        b"Expect: 100-continue",
        b"TE: trailers",
        b"Trailer: A",
        b"Connection: x",
        b" A: b",
        b"A : b",
    ),
    *(b"A", b": b", b"A: b\r\n c", b"A: b\nC: d", b"A: b\rC: d", b"A: \0", b"A: \x7f", b"A: \xe9"),
    *(b"\xe9: a", b"(A): b", b"A: b\r\nA: b", b"Content-Length: 4", b"HTTP2-Settings: x"),
]
LINES = [
    *(b"HEAD / HTTP/1.1", b"get / HTTP/1.1", b"GET * HTTP/1.1", b"GET x HTTP/1.1"),
    *(b"GET  / HTTP/1.1", b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / http/1.1", b"GET /"),
    *(b"GET http://a/ HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /\t HTTP/1.1"),
    *(b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"\r\nGET / HTTP/1.1", b"", b"GET /\x7f HTTP/1.1"),
]
SMALL = {"limit_request_line": 40, "limit_request_fields": 4, "limit_request_field_size": 30}


def config(**options):
    cfg = Config()
    for name, value in {"http_parser": "python", "forwarder_headers": "", **options}.items():
        cfg.set(name, value)
    return cfg


def client_of(reader, data, state=IDLE):
    sock = SimpleNamespace(fileno=lambda: 0)
    client = Client(sock, ADDRESS, SERVER, reader.environ(sock, ADDRESS, SERVER))
    client.data, client.state = data, state
    return client


def read(data, cfg=None):
    reader = Reader(cfg or config())
    return reader.read(client_of(reader, data))


def comparable(environ):
    """Return the part of an environ that depends on the bytes of the request."""
    kept = {key: value for key, value in environ.items() if not key.startswith(("wsgi.", "gun"))}
    return kept | {"scheme": environ["wsgi.url_scheme"]}


def read_by_gunicorn(cfg, data):
    """Return the environ, the body's length and whether the connection goes on, or None."""
    try:
        request = Request(cfg, IterUnreader([data]), ADDRESS)
        _, environ = create(request, None, ADDRESS, SERVER, cfg)
    except ParseException:
        return None
    length = getattr(request.body.reader, "length", None)
    return comparable(environ), length, not request.should_close()


def made(line, fields):
    return b"".join(part + b"\r\n" for part in (line, *fields, b""))


def post(*fields):
    common = [b"Host: a", b"Content-Type: application/json", b"Content-Length: 2"]
    return made(b"POST /predict?x=%20y HTTP/1.1", [*common, *fields])


def assert_equal_or_none(cfg, data):
    request = read(data, cfg)
    if request is not None:
        found = comparable(request.environ), request.end - request.begin, request.keep
        assert found == read_by_gunicorn(cfg, data)
        assert data[: request.begin].endswith(b"\r\n\r\n")


pieces = st.one_of(
    st.binary(max_size=12),
    st.text(st.characters(max_codepoint=126), max_size=12).map(str.encode),
)
names = st.sampled_from(
    [b"Host", b"Accept", b"content-length", b"Connection", b"X-Forwarded-Proto", b"Cookie", b"A-b"]
)
values = st.sampled_from([b"", b" a", b"\ta \t", b" 3", b" 03", b" close", b" https", b" a:b, c"])
fields = st.one_of(
    st.tuples(names, values).map(b":".join),
    st.tuples(names, values).map(b":".join),
    st.tuples(names, pieces).map(b": ".join),
    st.tuples(pieces, values).map(b":".join),
    st.sampled_from([each for some in TYPICAL.values() for each in some] + UNUSUAL),
    pieces,
)
targets = st.one_of(
    st.sampled_from([b"/", b"/predict", b"/a%2Fb%00%ff?x=y", b"//a/b#c", b"/..;a?", b"/?#?", b"*"]),
    pieces.map(b"/".__add__),
)
lines = st.one_of(
    st.tuples(
        st.sampled_from([b"GET", b"POST"]),
        targets,
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    ).map(b" ".join),
    st.sampled_from(LINES),
    pieces,
)
heads = st.builds(made, lines, st.lists(fields, max_size=6))


@settings(max_examples=examples(500, 5000))
@given(heads, st.sampled_from([{}, SMALL, {"forwarded_allow_ips": "1.2.3.4"}]))
def test_reader_any_head_gives_the_environ_of_gunicorn_or_none(head, options):
    assert_equal_or_none(config(**options), head + b"\r\n\r\n")


@settings(max_examples=examples(500, 5000))
@given(st.data(), pieces)
def test_reader_spoiled_head_gives_the_environ_of_gunicorn_or_none(data, piece):
    head = post(*data.draw(st.sampled_from(list(TYPICAL.values()))))
    begin = data.draw(st.integers(0, len(head)))
    end = data.draw(st.integers(begin, min(begin + 4, len(head))))
    assert_equal_or_none(config(), head[:begin] + piece + head[end:] + b"\r\n\r\n")


@pytest.mark.parametrize("client", TYPICAL)
def test_reader_typical_head_gives_the_environ_of_gunicorn(client):
    head = post(*TYPICAL[client])
    assert read(head) is not None
    assert_equal_or_none(config(), head + b"{}")


@pytest.mark.parametrize("field", UNUSUAL)
def test_reader_unusual_field_returns_none(field):
    assert read(post(field)) is None
    assert read(post(field, *TYPICAL["curl"])) is None


@pytest.mark.parametrize("line", LINES)
def test_reader_unusual_request_line_returns_none(line):
    assert read(made(line, [b"Host: a"])) is None


@pytest.mark.parametrize("more", [0, 1])
def test_reader_head_beyond_a_limit_returns_none(more):
    at_limits = [
        made(b"GET /" + b"a" * (40 - 14 + more) + b" HTTP/1.1", []),
        made(b"GET / HTTP/1.1", [b"A%d: b" % i for i in range(4 + more)]),
        made(b"GET / HTTP/1.1", [b"B: c", b"A: " + b"b" * (30 - 5 + more), b"C: d"]),
    ]
    cfg = config(**SMALL)
    for head in at_limits:
        assert (read(head, cfg) is None) == bool(more)
        assert (read_by_gunicorn(cfg, head) is None) == bool(more)


def test_reader_head_longer_than_the_loop_reads_returns_none():
    names = [b"A%d: " % i for i in range(4)]
    assert read(made(b"GET / HTTP/1.1", [name + b"b" * (MAX_HEAD // 5) for name in names]))
    assert read(made(b"GET / HTTP/1.1", [name + b"b" * (MAX_HEAD // 4) for name in names])) is None


def test_reader_head_that_arrives_byte_by_byte_is_searched_once():
    reader, head = Reader(config()), post(*TYPICAL["browser"])
    client = client_of(reader, bytearray())
    for i, byte in enumerate(head[:-1]):
        client.data.append(byte)
        with pytest.raises(IncompleteError):
            reader.read(client)
        assert client.searched == i + 1
        client.state = READING
    client.data += head[-1:] + b"{}"
    assert comparable(reader.read(client).environ) == comparable(read(head + b"{}").environ)


def test_reader_head_in_two_pieces_is_read_as_the_whole():
    reader, head = Reader(config()), post()
    for cut in range(1, len(head)):
        client = client_of(reader, head[:cut])
        with pytest.raises(IncompleteError):
            reader.read(client)
        client.data, client.state = head, READING
        assert comparable(reader.read(client).environ) == comparable(read(head).environ)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: a\n\n", b"\x16\x03\x01\0\0\n\0"])
def test_reader_bare_lf_in_an_incomplete_head_returns_none(data):
    reader = Reader(config())
    assert reader.read(client_of(reader, data)) is None
    # Also where the LF is the first byte of a later piece.
    client = client_of(reader, data[: data.index(b"\n")])
    with pytest.raises(IncompleteError):
        reader.read(client)
    client.data, client.state = data, READING
    assert reader.read(client) is None
