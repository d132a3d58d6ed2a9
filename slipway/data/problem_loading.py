"""Load a problem from its module."""

from __future__ import annotations

from importlib import import_module

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, format_error
from slipway.data.problem_fields import validate_problem


def load_problem(name: str) -> Problem:
    """Import a problem from its module.

    Parameters
    ----------
    name : str
        The module, for example ``flights``.

    Returns
    -------
    Problem

    Raises
    ------
    SlipwayError
        The module cannot be imported, has no ``PROBLEM``, or a field is not valid.
    """
    try:
        module = import_module(name)
    except Exception as error:
        raise SlipwayError(f"cannot load the problem {name!r}: {format_error(error)}") from error
    problem = getattr(module, "PROBLEM", None)
    if not isinstance(problem, Problem):
        raise SlipwayError(f"{name}.PROBLEM must be a slipway.Problem")
    validate_problem(problem, name)
    return problem
