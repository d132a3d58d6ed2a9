"""Load a problem from its module."""

from __future__ import annotations

from importlib import import_module

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, error_line
from slipway.data.problem_fields import require_sound


def load_problem(name: str) -> Problem:
    """Import the problem that a module holds.

    Parameters
    ----------
    name : str
        The module, for instance ``flights``.

    Raises
    ------
    SlipwayError
        There is no such module, it holds no ``PROBLEM``, or a field cannot be used.
    """
    try:
        module = import_module(name)
    except Exception as error:
        raise SlipwayError(f"cannot load the problem {name!r}: {error_line(error)}") from error
    problem = getattr(module, "PROBLEM", None)
    if not isinstance(problem, Problem):
        raise SlipwayError(f"{name}.PROBLEM must be a slipway.Problem")
    require_sound(problem, name)
    return problem
