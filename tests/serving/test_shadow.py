"""A candidate that is asked the same as production: what is counted, and that nobody waits."""

import json
import math
import re
import time

import msgspec
import pytest
from clients import post
from conftest import GUNICORN, running
from small_versions import BODIES, RECORDS, save_version
from swapping import POLL, Versions, all_serve, clients, got, until

from slipway.core.settings import Settings
from slipway.models.predictor import Predictor
from slipway.registry import open_registry
from slipway.serving.rollout import shadow
from slipway.serving.rollout.shadow import ShadowModel, ShadowStats, compare, summary
from slipway.serving.service import PredictionService


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shadow")
    paths = [save_version(folder / f"{weight}", weight) for weight in (0.5, -0.6)]
    other = save_version(folder / "other", 0.75, drop="place")
    return [PredictionService(Settings(path)) for path in (*paths, other)]


@pytest.fixture
def shadowed(lives):
    """A live model of its own, with a shadow that has a candidate."""
    live = PredictionService(Settings(lives[0].path))
    shadow = ShadowModel()
    live.observers = (shadow,)
    shadow.take(lives[1])
    return live


def probability(live, body):
    return json.loads(live.predict_json(body)[1])["probability"]


def test_shadow_counts_agreement_and_differences(shadowed, lives):
    here = [probability(lives[0], body) for body in BODIES]
    there = [probability(lives[1], body) for body in BODIES]
    apart = [abs(a - b) for a, b in zip(here, there, strict=True)]
    pairs = zip(here, there, strict=True)
    labels = [(lives[0].model.label(a), lives[1].model.label(b)) for a, b in pairs]
    shadowed.predict_json(BODIES[0])
    shadowed.predict_json(json.dumps(RECORDS[1:]).encode())
    shadowed.observers[0].turn()
    counted = shadowed.observers[0].read()
    # Another worker was asked nothing since the candidate before.
    left = ShadowStats(counted.production, "before", compared=900)
    told = summary([counted, left], counted.production, counted.candidate)
    assert (told["production"], told["candidate"]) == (lives[0].version, lives[1].version)
    assert told["compared"] == len(BODIES)
    assert told["agreed"] == sum(a == b for a, b in labels) < len(BODIES)
    assert told["mean_difference"] == pytest.approx(math.fsum(apart) / len(apart))
    assert told["largest_difference"] == max(apart)


def test_shadow_answer_is_made_before_the_candidate_is_asked(shadowed, lives):
    assert shadowed.predict_json(BODIES[0]) == lives[0].predict_json(BODIES[0])
    assert shadowed.observers[0].read() is None
    shadowed.observers[0].turn()
    assert shadowed.observers[0].read().compared == 1


def test_shadow_candidate_with_other_features_is_incomparable(shadowed, lives):
    shadowed.observers[0].take(lives[2])
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].turn()
    assert shadowed.observers[0].read() == ShadowStats(
        lives[0].version, lives[2].version, incomparable=1
    )


def test_shadow_record_that_the_candidate_does_not_take_is_refused(lives):
    signature = lives[1].signature
    narrow = [
        msgspec.structs.replace(each, maximum=50) if each.name == "age" else each
        for each in signature.features
    ]
    changed = msgspec.structs.replace(signature, features=tuple(narrow))
    manifest = msgspec.structs.replace(lives[1].model.manifest, signature=changed)
    candidate = Predictor(manifest, "scorecard", lives[1].model.score)
    tally = ShadowStats("a", "b")
    names = lives[0].signature.names
    records = [tuple(record[name] for name in names) for record in RECORDS]
    compare(tally, lives[0].model, candidate, records, lives[0].model.score(records))
    assert (tally.compared, tally.refused) == (4, 2)


def test_shadow_candidate_without_an_answer_or_that_raises_has_failed(shadowed, lives):
    def none(records):
        return [math.nan] * len(records)

    def raises(records):
        raise ZeroDivisionError

    candidate = PredictionService(Settings(lives[1].path))
    shadowed.observers[0].take(candidate)
    for number, score in enumerate((none, raises), start=1):
        candidate.model.score = score
        shadowed.predict_json(BODIES[0])
        shadowed.observers[0].turn()
        assert shadowed.observers[0].read().failed == number
    assert shadowed.observers[0].read().compared == 0


def test_shadow_queue_has_an_end_and_counts_what_it_leaves_out(shadowed, monkeypatch):
    monkeypatch.setattr(shadow, "LIMIT", 3)
    for body in BODIES:
        assert shadowed.predict_json(body)[0] == 200
    shadowed.observers[0].turn()
    told = shadowed.observers[0].read()
    assert told.compared == 3
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].turn()
    assert shadowed.observers[0].read().compared == 4


def test_shadow_another_version_begins_another_tally(shadowed, lives):
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].turn()
    shadowed.observers[0].take(lives[0])
    shadowed.predict_json(BODIES[0])
    shadowed.observers[0].turn()
    told = shadowed.observers[0].read()
    assert (told.candidate, told.compared, told.difference) == (lives[0].version, 1, 0.0)


def compared_at_rest(base):
    """How many records were compared, once nothing was added for a while.

    Each worker compares what it has answered within a twentieth of a second, and tells of it every
    half second.
    """
    counted = [-1, 0]
    while counted[-1] != counted[-2]:
        time.sleep(1.5)
        counted.append((got(base, "/version")["shadow"]["comparison"] or {}).get("compared", -2))
    return counted[-1]


def test_shadow_of_a_service_counts_every_record_over_all_workers_and_follows(tmp_path, capfd):
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

    def taken_by_all(candidate):
        logged.append(capfd.readouterr().err)
        taken = rf"@candidate: {candidate} serves in process (\d+)"
        return len(set(re.findall(taken, "".join(logged)))) == 2

    with running(*GUNICORN, "--workers=2", **environ) as (base, _):
        told_of = lambda: got(base, "/version")["shadow"]  # noqa: E731
        until(lambda: "no alias candidate" in told_of()["problem"], 30)
        for candidate in (second, third):
            registry.move("candidate", candidate, who="a test")
            with clients(base, 2) as told:
                until(lambda c=candidate: taken_by_all(c), 60)
                before = len(told)
                until(lambda b=before: len(told) > b + 20, 60)
            versions.require_right(told)
            before = compared_at_rest(base)
            assert {post(base, body)[0] for body in BODIES * 5} == {200}
            until(lambda b=before: told_of()["comparison"]["compared"] == b + 30, 60)
        assert told_of()["problem"] == ""
        assert all_serve(base, first, 2)
        # A file's rows are not compared, and what is refused has no answer to compare.
        assert post(base, b"{}")[0] == 422
