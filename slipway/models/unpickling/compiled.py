"""Constructors of scikit-learn's compiled objects: trees, distances and losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway.models.unpickling.arrays import require_array
from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require, require_types


def make_tree(*args: Any) -> Any:
    """Construct an empty decision tree with plausible numbers of features and classes."""
    from sklearn.tree._tree import Tree

    require_types("Tree", args, int, np.ndarray, int)
    features, classes, outputs = args
    valid = classes.dtype == np.intp and classes.shape == (outputs,) and features > 0
    require(valid, "constructs a tree with unexpected arguments")
    require(
        all(0 < count < 2**24 for count in classes.tolist()),
        "constructs a tree with unexpected arguments",
    )
    return Tree(*args)


def set_tree(tree: Any, state: Any, budget: Budget) -> None:
    """Restore the nodes of a tree, whose indices must be in range."""
    valid = type(state) is dict and set(state) == {"max_depth", "node_count", "nodes", "values"}
    require(valid, "restores a tree from an unexpected state")
    require_types("Tree", (state["max_depth"], state["node_count"]), int, int)
    nodes, values = state["nodes"], state["values"]
    require_array(nodes, "V")
    require_array(values, "f")
    _require_nodes(nodes, "left_child", "right_child", "feature", tree.n_features)
    require(state["node_count"] == len(nodes), "restores a tree from an unexpected state")
    budget.spend(nodes.nbytes + values.nbytes)
    tree.__setstate__(state)


def _require_nodes(nodes: Any, left: str, right: str, feature: str, features: int) -> None:
    """Require children in range and after their parents, so that every walk ends."""
    names = nodes.dtype.names or ()
    require(
        nodes.ndim == 1 and {left, right, feature} <= set(names),
        "restores a tree from an unexpected state",
    )
    parents = np.flatnonzero(nodes[left] != -1)
    if not len(parents):
        return
    inner = nodes[parents]
    first, second, used = inner[left], inner[right], inner[feature]
    in_range = max(first.max(), second.max()) < len(nodes) and (first > parents).all()
    in_range = in_range and (second > parents).all() and used.min() >= 0 and used.max() < features
    require(bool(in_range), "contains a tree with indices out of range")


def set_predictor(predictor: Any, state: Any) -> None:
    """Restore a tree of histogram gradient boosting."""
    known = {"nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets"}
    valid = type(state) is dict and set(state) <= known and "nodes" in state
    require(valid, "restores a tree from an unexpected state")
    nodes, bits = state["nodes"], state.get("raw_left_cat_bitsets")
    for array in state.values():
        require_array(array, "uV")
    names = set(nodes.dtype.names or ())
    needed = {"is_leaf", "left", "right", "is_categorical", "bitset_idx"}
    require(nodes.ndim == 1 and needed <= names, "restores a tree from an unexpected state")
    parents = np.flatnonzero(nodes["is_leaf"] == 0)
    inner = nodes[parents]
    first, second = inner["left"], inner["right"]
    in_range = bool(((first > parents) & (second > parents)).all()) and len(nodes) > 0
    in_range = in_range and bool(((first < len(nodes)) & (second < len(nodes))).all())
    used = inner["bitset_idx"][inner["is_categorical"] == 1]
    in_range = in_range and bool((used < (0 if bits is None else len(bits))).all())
    require(in_range, "contains a tree with indices out of range")
    predictor.__setstate__(state)


def make_new(*args: Any) -> Any:
    """Construct an empty distance or tree of neighbours, to be restored."""
    require(
        len(args) == 1 and isinstance(args[0], type), "constructs a tree with unexpected arguments"
    )
    require(_is_compiled(args[0]), "constructs a tree with unexpected arguments")
    return args[0].__new__(args[0])


def _is_compiled(kind: Any) -> bool:
    modules = ("sklearn.metrics._dist_metrics", "sklearn.neighbors._kd_tree")
    return kind.__module__ in (*modules, "sklearn.neighbors._ball_tree")


def set_distance(distance: Any, state: Any) -> None:
    """Restore the numbers of a distance; distances that call functions are not listed."""
    require(
        type(state) is tuple and len(state) == 3, "restores a distance from an unexpected state"
    )
    require_types("a distance", state, float, np.ndarray, np.ndarray)
    for array in state[1:]:
        require_array(array)
    distance.__setstate__(state)


def set_neighbours(tree: Any, state: Any) -> None:
    """Restore a tree of neighbours, whose arrays must have consistent shapes and indices."""
    from sklearn.metrics._dist_metrics import DistanceMetric

    require(type(state) is tuple and len(state) == 13, "restores a tree from an unexpected state")
    kinds = (np.ndarray,) * 4 + (int,) * 7
    require_types("a tree of neighbours", state[:11], *kinds)
    require(issubclass(type(state[11]), DistanceMetric), "restores a tree from an unexpected state")
    require(type(state[12]) in (type(None), np.ndarray), "restores a tree from an unexpected state")
    data, order, nodes, bounds = state[:4]
    for array in (*state[:2], bounds, *state[12:]):
        require(
            array is None or type(array) is np.ndarray, "restores a tree from an unexpected state"
        )
    require_array(nodes, "V")
    require_array(order, "i")
    valid = data.ndim == 2 and order.shape == (len(data),) and nodes.shape == (state[6],)
    valid = valid and state[6] == 2 ** max(0, min(state[5], 40)) - 1 and bounds.ndim == 3
    valid = valid and bounds.shape[1] == state[6] and bounds.shape[2] == data.shape[1]
    names = ("idx_start", "idx_end")
    valid = valid and set(names) <= set(nodes.dtype.names or ())
    require(valid, "restores a tree from an unexpected state")
    in_range = all(nodes[name].min() >= 0 and nodes[name].max() <= len(data) for name in names)
    in_range = in_range and (not len(order) or (order.min() >= 0 and order.max() < len(data)))
    require(bool(in_range), "contains a tree with indices out of range")
    tree.__setstate__(state)


def make_numbered(kind: type, *args: Any) -> Any:
    """Construct a loss, which has at most two numeric parameters."""
    valid = all(type(number) in (int, float, np.float64) for number in args)
    require(valid and len(args) <= 2, f"calls {kind.__name__} with unexpected arguments")
    return kind(*args)


def make_by_cython(function: Any, *args: Any) -> Any:
    """Construct a compiled loss that Cython pickled."""
    require_types(function.__name__, args, type, int, (type(None), tuple))
    kind, _, state = args
    valid = kind.__module__ == function.__module__ and function.__name__.endswith(kind.__name__)
    require(valid and is_plain(state, 1), "constructs a loss with unexpected arguments")
    return function(*args)


def set_by_cython(loss: Any, state: Any) -> None:
    """Restore the numbers of a compiled loss."""
    require(type(state) is tuple and is_plain(state, 1), "restores a loss from an unexpected state")
    loss.__setstate__(state)
