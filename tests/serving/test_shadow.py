"""Test the shadow model: its statistics, and that no client waits for it."""

import json
import math
import re
import time

import msgspec
import pytest
from clients import post
from conftest import GUNICORN, running
from small_versions import BODIES, RECORDS, save_version
from swapping import POLL, Versions, all_serve, clients, get_json, until

from slipway.core.settings import Settings
from slipway.models.predictor import Predictor
from slipway.registry import open_registry
from slipway.serving.rollout import shadow
from slipway.serving.rollout.shadow import ShadowModel, ShadowStats, compare, summarize
from slipway.serving.service import PredictionService


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shadow")
    paths = [save_version(folder / f"{weight}", weight) for weight in (0.5, -0.6)]
    other = save_version(folder / "other", 0.75, drop="place")
    return [PredictionService(Settings(path)) for path in (*paths, other)]


@pytest.fixture
def shadowed(services):
    """A service with a shadow model that has a candidate."""
    service = PredictionService(Settings(services[0].path))
    shadow = ShadowModel()
    service.observers = (shadow,)
    shadow.set_candidate(services[1])
    return service


def probability(service, body):
    return json.loads(service.predict_json(body)[1])["probability"]


def test_shadow_stats_count_agreement_and_differences(shadowed, services):
    production = [probability(services[0], body) for body in BODIES]
    candidate = [probability(services[1], body) for body in BODIES]
    differences = [abs(a - b) for a, b in zip(production, candidate, strict=True)]
    pairs = zip(production, candidate, strict=True)
    labels = [(services[0].model.label(a), services[1].model.label(b)) for a, b in pairs]
    shadowed.predict_json(BODIES[0])
    shadowed.predict_json(json.dumps(RECORDS[1:]).encode())
    shadowed.observers[0].drain_queue()
    counted = shadowed.observers[0].read_stats()
    # Another worker had no requests since the previous candidate.
    left = ShadowStats(counted.production, "before", compared=900)
    summary = summarize([counted, left], counted.production, counted.candidate)
    assert (summary["production"], summary["candidate"]) == tuple(s.version for s in services[:2])
    assert summary["compared"] == len(BODIES)
    assert summary["agreed"] == sum(a == b for a, b in labels) < len(BODIES)
    assert summary["mean_difference"] == pytest.approx(math.fsum(differences) / len(differences))
    assert summary["largest_difference"] == max(differences)


def test_shadow_observe_does_not_call_the_candidate(shadowed, services):
    assert shadowed.predict_json(BODIES[0]) == services[0].predict_json(BODIES[0])
    assert shadowed.observers[0].read_stats() is None
    shadowed.observers[0].drain_queue()
    assert shadowed.observers[0].read_stats().compared == 1


def test_shadow_candidate_with_other_features_is_incomparable(shadowed, services):
    shadowed.observers[0].set_candidate(services[2])
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].drain_queue()
    assert shadowed.observers[0].read_stats() == ShadowStats(
        services[0].version, services[2].version, incomparable=1
    )


def test_compare_record_that_the_candidate_rejects_counts_as_refused(services):
    signature = services[1].signature
    narrow = [
        msgspec.structs.replace(each, maximum=50) if each.name == "age" else each
        for each in signature.features
    ]
    changed = msgspec.structs.replace(signature, features=tuple(narrow))
    manifest = msgspec.structs.replace(services[1].model.manifest, signature=changed)
    candidate = Predictor(manifest, "scorecard", services[1].model.score)
    stats = ShadowStats("a", "b")
    names = services[0].signature.names
    records = [tuple(record[name] for name in names) for record in RECORDS]
    compare(stats, services[0].model, candidate, records, services[0].model.score(records))
    assert (stats.compared, stats.refused) == (4, 2)


def test_shadow_candidate_without_prediction_or_raising_counts_as_failed(shadowed, services):
    def none(records):
        return [math.nan] * len(records)

    def raises(records):
        raise ZeroDivisionError

    candidate = PredictionService(Settings(services[1].path))
    shadowed.observers[0].set_candidate(candidate)
    for number, score in enumerate((none, raises), start=1):
        candidate.model.score = score
        shadowed.predict_json(BODIES[0])
        shadowed.observers[0].drain_queue()
        assert shadowed.observers[0].read_stats().failed == number
    assert shadowed.observers[0].read_stats().compared == 0


def test_shadow_full_queue_drops_records(shadowed, monkeypatch):
    monkeypatch.setattr(shadow, "MAX_QUEUED", 3)
    for body in BODIES:
        assert shadowed.predict_json(body)[0] == 200
    shadowed.observers[0].drain_queue()
    assert shadowed.observers[0].read_stats().compared == 3
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].drain_queue()
    assert shadowed.observers[0].read_stats().compared == 4


def test_shadow_another_candidate_resets_the_stats(shadowed, services):
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].drain_queue()
    shadowed.observers[0].set_candidate(services[0])
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].drain_queue()
    stats = shadowed.observers[0].read_stats()
    assert (stats.candidate, stats.compared, stats.difference) == (services[0].version, 1, 0.0)


def compared_at_rest(base):
    """Return the number of compared records, once it stops growing.

    Each worker drains its queue every twentieth of a second, and writes its status every half
    second.
    """
    counted = [-1, 0]
    while counted[-1] != counted[-2]:
        time.sleep(1.5)
        counted.append(
            (get_json(base, "/version")["shadow"]["comparison"] or {}).get("compared", -2)
        )
    return counted[-1]


def test_service_shadow_counts_records_of_all_workers_and_follows_alias(tmp_path, capfd):
    registry, versions = open_registry(str(tmp_path / "registry")), Versions()
    paths = [save_version(tmp_path / f"{weight}", weight) for weight in (0.5, 1.5, -0.6)]
    first, second, third = map(versions.add, paths)
    for path in paths:
        registry.push(path, who="a test")
    registry.move("production", first, who="a test")
    url = str(tmp_path / "registry")
    environ = {
        "SLIPWAY_MODEL": url,
        "SLIPWAY_SHADOW": f"{url}@candidate",
        "SLIPWAY_CACHE": str(tmp_path / "cache"),
        "SLIPWAY_MODEL_POLL": f"{POLL}",
    }
    logged = []

    def all_loaded(candidate):
        logged.append(capfd.readouterr().err)
        line = rf"@candidate: {candidate} serves in process (\d+)"
        return len(set(re.findall(line, "".join(logged)))) == 2

    with running(*GUNICORN, "--workers=2", **environ) as (base, _):
        shadow_view = lambda: get_json(base, "/version")["shadow"]  # noqa: E731
        until(lambda: "no alias candidate" in shadow_view()["problem"], 30)
        for candidate in (second, third):
            registry.move("candidate", candidate, who="a test")
            with clients(base, 2) as answers:
                until(lambda c=candidate: all_loaded(c), 60)
                before = len(answers)
                until(lambda b=before: len(answers) > b + 20, 60)
            versions.assert_correct(answers)
            before = compared_at_rest(base)
            assert {post(base, body)[0] for body in BODIES * 5} == {200}
            until(lambda b=before: shadow_view()["comparison"]["compared"] == b + 30, 60)
        assert shadow_view()["problem"] == ""
        assert all_serve(base, first, 2)
        # A rejected record has no prediction to compare.
        assert post(base, b"{}")[0] == 422
