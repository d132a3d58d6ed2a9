"""Whatever is done to a registry, in any order: aliases have whole versions, journals grow."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from registries import KEY, version_name, write_version

from slipway.registry import Unknown, open_registry
from slipway.registry.alias_journal import standing
from slipway.registry.records import Move

ALIASES = st.sampled_from(["production", "candidate"])
NUMBERS = st.integers(1, 6)


class Rules(RuleBasedStateMachine):
    """A registry, beside what should be in it."""

    @initialize()
    def begin(self):
        self.folder = TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.registry = open_registry(str(self.root / "registry"), KEY)
        self.there = set()
        self.histories = {"production": [], "candidate": []}

    @rule(number=NUMBERS)
    def push(self, number):
        assert self.registry.push(write_version(self.root, number), who="me") == version_name(
            number
        )
        self.there.add(version_name(number))

    @rule(alias=ALIASES, number=NUMBERS)
    def promote(self, alias, number):
        try:
            move = self.registry.move(alias, version_name(number), who="me")
        except Unknown:
            assert version_name(number) not in self.there
            return
        if not self.histories[alias] or self.histories[alias][-1] != move:
            self.histories[alias].append(move)

    @rule(alias=ALIASES)
    def roll_back(self, alias):
        stack = standing(self.histories[alias])
        try:
            move = self.registry.rollback(alias, who="me")
        except Unknown:
            # What is further back than prune keeps may be gone.
            assert len(stack) < 2 or stack[-2] not in self.there
            return
        assert move.version == stack[-2]
        assert standing([*self.histories[alias], move]) == stack[:-1]
        self.histories[alias].append(move)

    @rule(keep=st.integers(1, 3))
    def prune(self, keep):
        newest = [each.version for each in self.registry.versions()][:keep]
        gone = self.registry.prune(keep)
        assert not {*gone} & {*newest}
        for history in self.histories.values():
            assert not {*gone} & {*standing(history)[-2:]}
            assert not {*gone} & {move.version for move in history[-2:]}
        self.there -= {*gone}

    @invariant()
    def aliases_have_whole_versions(self):
        assert {each.version for each in self.registry.versions()} == self.there
        for version in self.registry.aliases().values():
            assert self.registry.fetch(version, self.root / "here").exists()
            assert version in self.there

    @invariant()
    def journals_only_grow(self):
        for alias, history in self.histories.items():
            assert self.registry.history(alias) == history

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestRules = Rules.TestCase
TestRules.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def moves(*steps):
    """A history of promotions, and of rollbacks where a version has a minus before it."""
    return [
        Move("a", i, step[-1], None, "rollback" if step[0] == "-" else "promote", "", "", "", "")
        for i, step in enumerate(steps, start=1)
    ]


def test_standing_is_what_rollbacks_have_left():
    assert standing(moves()) == []
    assert standing(moves("1", "2", "3")) == ["1", "2", "3"]
    assert standing(moves("1", "2", "3", "-2")) == ["1", "2"]
    assert standing(moves("1", "2", "3", "-2", "-1")) == ["1"]
    assert standing(moves("1", "2", "3", "-1", "4")) == ["1", "4"]
    assert standing(moves("1", "2", "1", "3", "-1")) == ["1", "2", "1"]
    assert standing(moves("1", "2", "-1", "-2")) == ["1", "2"]
