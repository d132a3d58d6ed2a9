"""``flask model show``: the card of a model version."""

import msgspec
import pytest
from conftest import ROOT
from versions import AGE, ALL, COST, PLACE, SLOPE, TABLE, run, squeezed, version, with_terms

from slipway.core.text_tables import decimal_places, format_signed, format_value
from slipway.models.features import Target
from slipway.models.scorecard import CurveSumTerm, CurveTerm, SlopeTerm, StepTerm, TableTerm
from slipway.models.stages import Named, Pieces
from slipway.reports.model_card import Card, card_text, describe_card

LOG = CurveTerm("cost", (Named("log"),), Pieces((), (0.0,), ((0.0, 1.0),)), 0.0)
STEP = CurveTerm("cost", (), Pieces((5.0,), (0.0, 0.0), ((0.0,), (1.0,))), 0.0)


def text_of(manifest):
    return card_text(describe_card(manifest))


def term_of(manifest, feature):
    return next(term for term in describe_card(manifest).terms if term.feature == feature)


def places_of(manifest, feature):
    return {place.text: place.points for place in term_of(manifest, feature).places}


def test_show_shipped_model_fits_100_columns(app, manifest):
    result = run(app, "show")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 100
    lines = squeezed(result.output)
    for expected in (
        f"title {manifest.title}",
        f"version {manifest.version}",
        f"threshold {manifest.threshold}",
        "engine scorecard",
        "target_classes on time, late",
        "departure_hour integer 19 known values. Hour of the scheduled departure, local time",
        f"data_sha256 {manifest.training.data_sha256}",
        f"scikit-learn {manifest.libraries['scikit-learn']}",
    ):
        assert expected in lines
    roc_auc = manifest.evaluations["holdout"].scores["model"].roc_auc
    assert any(line.startswith(f"roc_auc {roc_auc:.6g} 0.5 ") for line in lines)
    assert result.output == text_of(manifest)


def test_show_json_shipped_model_contains_all_values(app, manifest):
    result = run(app, "show", ROOT / "model.pkl", "--json")
    card = msgspec.json.decode(result.output, type=Card)
    assert card_text(card) == text_of(manifest)
    reaches = [term.reach for term in card.terms]
    assert reaches == sorted(reaches, reverse=True)
    (carrier,) = (term for term in card.terms if term.feature == "carrier")
    (format_table,) = (
        term for term in manifest.scorecard.sums[0].terms if term.feature == "carrier"
    )
    assert [place.points for place in carrier.places] == [*format_table.points, format_table.unseen]


def test_show_missing_manifest_names_file(app, tmp_path):
    result = run(app, "show", tmp_path / "other.pkl")
    assert result.exit_code == 1
    problem = f"{tmp_path}/other.pkl: cannot read other.json: No such file or directory"
    assert result.output == f"Error: {problem}\n"


def test_show_invalid_manifest_reports_error(app, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    result = run(app, "show", tmp_path / "model.pkl")
    assert result.exit_code == 1
    assert "model.json is not a manifest: Object missing required field" in result.output


def test_card_table_lists_levels_missing_and_unseen():
    places = places_of(ALL, "place")
    assert places == {"sea": 0.5, "hill": -0.25, "missing": -1.0, "never seen": 0.1}
    assert "sea +0.50 hill -0.25 missing -1.00 never seen +0.10" in squeezed(text_of(ALL))


def test_card_flag_and_closed_category_omit_unseen():
    assert places_of(ALL, "high") == {"false": -0.2, "true": 0.2}
    closed = msgspec.structs.replace(PLACE, closed=True, nullable=False)
    manifest = version((closed,), (TABLE,))
    assert places_of(manifest, "place") == {"sea": 0.5, "hill": -0.25}
    assert "place category 2 allowed values: sea, hill. Where" in squeezed(text_of(manifest))


def test_card_step_term_lists_half_open_intervals():
    places = places_of(ALL, "age")
    assert places == {"<18": 0.3, "18 to <65": -0.1, "≥65": 0.75, "missing": 0.2}


def test_card_slope_lists_ends_and_slope():
    assert places_of(ALL, "cost") == {"1": -0.5, "10": 4.0}
    assert term_of(ALL, "cost").slope == 0.5
    assert "cost: -0.50 to +4.00, slope +0.5" in squeezed(text_of(ALL))


def test_card_slope_without_training_range_uses_golden_rows():
    feature = msgspec.structs.replace(COST, seen=None)
    manifest = version((feature,), (SLOPE,), golden=[({"cost": 5.0}, 0.5), ({"cost": None}, 0.5)])
    assert places_of(manifest, "cost") == {"1": -0.5, "5": 1.5}


@pytest.mark.parametrize(
    ("term", "largest"), [(LOG, 2.302585), (CurveSumTerm("cost", (LOG, STEP), 0.0), 3.302585)]
)
def test_card_curve_is_sampled_over_training_range(term, largest):
    card = term_of(with_terms(term), "cost")
    assert [place.text for place in card.places][:3] == ["1", "1.9", "2.8"]
    assert card.places[-1].text == "10"
    assert card.high == card.reach == pytest.approx(largest)


def test_card_curve_outside_domain_is_null_in_json():
    manifest = version((msgspec.structs.replace(COST, seen=(-2.0, 2.0)),), (LOG,))
    assert "-2 no answer" in " ".join(squeezed(text_of(manifest)))
    decoded = msgspec.json.decode(msgspec.json.encode(describe_card(manifest)), type=Card)
    assert decoded.terms[0].places[0].points is None


def test_card_many_values_shows_highest_and_lowest():
    steps = StepTerm("age", tuple(map(float, range(20))), tuple(i / 10 for i in range(21)), 0.0)
    expected = "≥19 +2.00 18 to <19 +1.90 17 to <18 +1.80 16 to <17 +1.70 …"
    assert any(line.startswith(expected) for line in squeezed(text_of(with_terms(steps))))


def test_card_several_classes_list_separate_terms():
    target = Target("kind", "kind", ("a", "b", "c"))
    zero = StepTerm("cost", (), (0.0,), 0.0)
    other = TableTerm("place", ("sea", "hill"), (0.0, 2.0), 0.0, 0.3)
    gone = StepTerm("place", (), (0.0,), 0.0)
    manifest = version((PLACE, COST), (TABLE, SLOPE), (other, zero), (gone, SLOPE), target=target)
    lines = squeezed(text_of(manifest))
    assert "the score starts at -1.00 for a, +0.00 for b, +1.00 for c" in lines
    named = [line for line in lines if " for " in line and "starts" not in line]
    assert [line.split(":")[0] for line in named] == [
        "cost for a",
        "cost for c",
        "place for b",
        "place for a",
    ]
    assert "and 2 with less or no reach: see --json" in lines


def test_card_many_classes_fit_100_columns():
    target = Target("kind", "kind", tuple(f"class number {i}" for i in range(60)))
    manifest = version((COST,), *[(SLOPE,)] * 60, target=target)
    assert max(map(len, text_of(manifest).splitlines())) <= 100
    assert "and 20 with less or no reach: see --json" in squeezed(text_of(manifest))


def test_card_without_scorecard_reports_reason_and_omits_terms():
    manifest = version((COST,))
    assert "engine pickle: no rule for Forest as the estimator" in squeezed(text_of(manifest))
    assert "TERMS" not in text_of(manifest)
    assert describe_card(manifest).terms == ()


def test_card_features_describe_accepted_values():
    lines = squeezed(text_of(version((AGE, COST))))
    assert "age integer any whole number years, in training 1 to 80 years, or missing. Age" in lines
    assert f"cost number {COST.range_text}. Cost" in lines


def test_card_control_characters_in_names_are_replaced():
    feature = msgspec.structs.replace(COST, name="a\x1b[2Jb\nc", description="d\x07\u202e")
    term = SlopeTerm("a\x1b[2Jb\nc", 1.0, 0.0, 0.0, 0.0)
    text = text_of(version((feature,), (term,)))
    assert "a\ufffd[2Jb" in text
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (184.0, "184"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (True, "true"),
        (None, "none"),
        (("sea", 2.0), "sea, 2"),
        ({"late": 3}, "late: 3"),
    ],
)
def test_brief_formats_value_compactly(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((1.5, -0.001), ["+1.50", "+0.00"]),
        ((152.13, -3.0), ["+152", "-3"]),
        ((0.0123, -0.001), ["+0.0123", "-0.0010"]),
        ((0.0, None), ["+0.00", "no answer"]),
    ],
)
def test_signed_digits_fit_largest_number(numbers, texts):
    assert [format_signed(number, decimal_places(numbers)) for number in numbers] == texts
