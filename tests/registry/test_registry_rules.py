"""Any sequence of operations: aliases have complete versions, journals only grow."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from registries import KEY, version_name, write_version

from slipway.registry import Unknown, open_registry
from slipway.registry.alias_journal import rollback_stack
from slipway.registry.records import Move

ALIASES = st.sampled_from(["production", "candidate"])
NUMBERS = st.integers(1, 6)


class Rules(RuleBasedStateMachine):
    """A registry, and a model of its content."""

    @initialize()
    def begin(self):
        self.folder = TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.registry = open_registry(str(self.root / "registry"), KEY)
        self.existing = set()
        self.histories = {"production": [], "candidate": []}

    @rule(number=NUMBERS)
    def push(self, number):
        assert self.registry.push(write_version(self.root, number), who="me") == version_name(
            number
        )
        self.existing.add(version_name(number))

    @rule(alias=ALIASES, number=NUMBERS)
    def promote(self, alias, number):
        try:
            move = self.registry.move(alias, version_name(number), who="me")
        except Unknown:
            assert version_name(number) not in self.existing
            return
        if not self.histories[alias] or self.histories[alias][-1] != move:
            self.histories[alias].append(move)

    @rule(alias=ALIASES)
    def roll_back(self, alias):
        stack = rollback_stack(self.histories[alias])
        try:
            move = self.registry.rollback(alias, who="me")
        except Unknown:
            # Prune can have removed older versions.
            assert len(stack) < 2 or stack[-2] not in self.existing
            return
        assert move.version == stack[-2]
        assert rollback_stack([*self.histories[alias], move]) == stack[:-1]
        self.histories[alias].append(move)

    @rule(keep=st.integers(1, 3))
    def prune(self, keep):
        newest = [stored.version for stored in self.registry.versions()][:keep]
        removed = self.registry.prune(keep)
        assert not {*removed} & {*newest}
        for history in self.histories.values():
            assert not {*removed} & {*rollback_stack(history)[-2:]}
            assert not {*removed} & {move.version for move in history[-2:]}
        self.existing -= {*removed}

    @invariant()
    def aliases_have_whole_versions(self):
        assert {stored.version for stored in self.registry.versions()} == self.existing
        for version in self.registry.aliases().values():
            assert self.registry.fetch(version, self.root / "here").exists()
            assert version in self.existing

    @invariant()
    def journals_only_grow(self):
        for alias, history in self.histories.items():
            assert self.registry.history(alias) == history

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestRules = Rules.TestCase
TestRules.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def make_history(*steps):
    """Return a history of promotions, and of rollbacks for steps with a minus."""
    return [
        Move("a", i, step[-1], None, "rollback" if step[0] == "-" else "promote", "", "", "", "")
        for i, step in enumerate(steps, start=1)
    ]


def test_rollback_stack_returns_versions_left_by_rollbacks():
    assert rollback_stack(make_history()) == []
    assert rollback_stack(make_history("1", "2", "3")) == ["1", "2", "3"]
    assert rollback_stack(make_history("1", "2", "3", "-2")) == ["1", "2"]
    assert rollback_stack(make_history("1", "2", "3", "-2", "-1")) == ["1"]
    assert rollback_stack(make_history("1", "2", "3", "-1", "4")) == ["1", "4"]
    assert rollback_stack(make_history("1", "2", "1", "3", "-1")) == ["1", "2", "1"]
    assert rollback_stack(make_history("1", "2", "-1", "-2")) == ["1", "2"]
