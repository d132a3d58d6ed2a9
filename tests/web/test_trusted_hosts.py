"""Trusted host names, in Flask's dispatch and on the fast path."""

import re
from dataclasses import replace

import pytest
from clients import JSON, asked
from conftest import GUNICORN, ROOT, running

from slipway.core.settings import Settings
from slipway.web import create_app
from slipway.web.trusted_hosts import HEALTH_PATHS

pytest_plugins = ["served"]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        ("example.com", ("example.com",)),
        (" Example.com , .example.org,,127.0.0.1 ", ("example.com", ".example.org", "127.0.0.1")),
        ("bücher.example", ("bücher.example",)),
    ],
)
def test_trusted_hosts_comma_separated_names_are_parsed(text, hosts):
    assert Settings.from_environ(ROOT, {"SLIPWAY_TRUSTED_HOSTS": text}).trusted_hosts == hosts


@pytest.mark.parametrize(
    "text", ["*", "https://example.com", "a b", "example.com:80", "[::1]", "."]
)
def test_trusted_hosts_invalid_name_is_rejected(text):
    with pytest.raises(ValueError, match="SLIPWAY_TRUSTED_HOSTS must be comma-separated"):
        Settings.from_environ(ROOT, {"SLIPWAY_TRUSTED_HOSTS": text})


@pytest.fixture(scope="module")
def strict_client(settings):
    """Return a client of an app with trusted hosts."""
    trusted = replace(settings, trusted_hosts=("good.example", ".all.example", "bücher.example"))
    return create_app(ROOT, trusted).test_client()


HOSTS = [
    ("good.example", 200),
    ("good.example:8000", 200),
    ("GOOD.example", 200),
    ("Good.Example:8000", 200),
    ("good.example.", 200),
    ("GOOD.EXAMPLE.:8000", 200),
    ("good.example:", 200),
    ("Some.ALL.example.", 200),
    ("xn--BCHER-kva.example", 200),
    ("some.all.example", 200),
    ("all.example", 200),
    ("other.good.example", 400),
    ("good.example..", 400),
    ("good.example.:x", 400),
    ("good.example::", 400),
    ("good.example:8000:", 400),
    ("good.example:99999", 400),
    (".good.example", 400),
    ("GOOD.EXAMPLE.EVIL", 400),
    (".", 400),
    (":8000", 400),
    ("[::1].", 400),
    ("g\u00f6od.example", 400),
    ("evil.example", 400),
    ("good.example@evil", 400),
    ("good.example.evil", 400),
    ("evilall.example", 400),
    ("127.0.0.1", 400),
    ("[::1]:80", 400),
    ("", 400),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_prediction_untrusted_host_returns_400(strict_client, example, host, status):
    response = strict_client.post("/predict", json=example, headers={"Host": host})
    assert response.status_code == status
    # Flask's dispatch follows the same rule as the fast path.
    assert strict_client.get("/version", headers={"Host": host}).status_code == status


def test_every_route_but_health_untrusted_host_returns_400(strict_client):
    rules = list(strict_client.application.url_map.iter_rules())
    assert len(rules) > 10
    for rule in rules:
        path = rule.build(dict.fromkeys(rule.arguments, "x"))[1]
        for method in rule.methods - (
            {"GET", "HEAD", "OPTIONS"} if path in HEALTH_PATHS else set()
        ):
            response = strict_client.open(path, method=method, headers={"Host": "evil.example"})
            assert (response.status_code, method, path) == (400, method, path)
            assert b"evil" not in response.data
            assert method == "HEAD" or b"SLIPWAY_TRUSTED_HOSTS" in response.data
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["10.0.0.7:8000", "evil.example", ""])
@pytest.mark.parametrize("path", HEALTH_PATHS)
def test_health_any_host_returns_200(strict_client, path, host):
    response = strict_client.get(path, headers={"Host": host})
    assert response.status_code == 200
    assert b"evil" not in response.data


@pytest.mark.slow
@pytest.mark.parametrize("fast_path", ["0", "1"])
def test_service_untrusted_host_returns_400_in_both_workers(body, fast_path):
    environ = {"SLIPWAY_LANE": fast_path, "SLIPWAY_TRUSTED_HOSTS": "good.example"}
    with running(*GUNICORN, **environ) as (base, _):
        for path, sent in (("/predict", body), ("/predict_file", b"a,b\n1,2\n")):
            kind = JSON if path == "/predict" else "text/csv"
            for host, status in (("evil.example", 400), (re.sub("http://", "", base), 400)):
                response = asked(base, "POST", path, sent, Content_Type=kind, Host=host)
                assert (response[0], b'"bad_request"' in response[2]) == (status, True)
        assert (
            asked(base, "POST", "/predict", body, Content_Type=JSON, Host="good.example")[0] == 200
        )
        assert asked(base, "GET", "/readyz", Host="10.0.0.7")[0] == 200
        assert asked(base, "GET", "/", Host="evil.example")[0] == 400
