"""Constructors of scikit-learn's compiled parts: trees, distances, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway.models.unpickling.arrays import require_array
from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import Budget, require, require_types


def make_tree(*args: Any) -> Any:
    """Make the empty tree of a forest, whose counts must fit."""
    from sklearn.tree._tree import Tree

    require_types("Tree", args, int, np.ndarray, int)
    features, classes, outputs = args
    right = classes.dtype == np.intp and classes.shape == (outputs,) and features > 0
    require(right, "makes a tree in another way")
    require(all(0 < count < 2**24 for count in classes.tolist()), "makes a tree in another way")
    return Tree(*args)


def set_tree(tree: Any, state: Any, budget: Budget) -> None:
    """Set a tree's nodes, each of which must lead on to later ones and to its own features."""
    right = type(state) is dict and set(state) == {"max_depth", "node_count", "nodes", "values"}
    require(right, "fills a tree in another way")
    require_types("Tree", (state["max_depth"], state["node_count"]), int, int)
    nodes, values = state["nodes"], state["values"]
    require_array(nodes, "V")
    require_array(values, "f")
    _require_nodes(nodes, "left_child", "right_child", "feature", tree.n_features)
    require(state["node_count"] == len(nodes), "fills a tree in another way")
    budget.spend(nodes.nbytes + values.nbytes)
    tree.__setstate__(state)


def _require_nodes(nodes: Any, left: str, right: str, feature: str, features: int) -> None:
    """Require children that come after their parents, so that no walk leaves the tree or ends."""
    names = nodes.dtype.names or ()
    require(nodes.ndim == 1 and {left, right, feature} <= set(names), "fills a tree in another way")
    ahead = nodes[left]
    inner = ahead != -1
    at = np.flatnonzero(inner)
    ahead, other, read = ahead[inner], nodes[right][inner], nodes[feature][inner]
    if not len(at):
        return
    inside = max(ahead.max(), other.max()) < len(nodes) and (ahead > at).all()
    inside = inside and (other > at).all() and read.min() >= 0 and read.max() < features
    require(bool(inside), "has a tree whose nodes lead out of it")


def set_predictor(predictor: Any, state: Any) -> None:
    """Set the tree of a histogram boosting."""
    right = type(state) is dict and set(state) <= {
        "nodes",
        "binned_left_cat_bitsets",
        "raw_left_cat_bitsets",
    }
    require(right and "nodes" in state, "fills a tree in another way")
    nodes, bits = state["nodes"], state.get("raw_left_cat_bitsets")
    for array in state.values():
        require_array(array, "uV")
    names = set(nodes.dtype.names or ())
    needed = {"is_leaf", "left", "right", "is_categorical", "bitset_idx"}
    require(nodes.ndim == 1 and needed <= names, "fills a tree in another way")
    at = np.flatnonzero(nodes["is_leaf"] == 0)
    inner = nodes[at]
    ahead, other = inner["left"], inner["right"]
    inside = bool(((ahead > at) & (other > at)).all()) and len(nodes) > 0
    inside = inside and bool(((ahead < len(nodes)) & (other < len(nodes))).all())
    chosen = inner["bitset_idx"][inner["is_categorical"] == 1]
    inside = inside and bool((chosen < (0 if bits is None else len(bits))).all())
    require(inside, "has a tree whose nodes lead out of it")
    predictor.__setstate__(state)


def make_new(*args: Any) -> Any:
    """Make the empty distance, or the empty tree of neighbours, to which a state is given."""
    require(len(args) == 1 and isinstance(args[0], type), "makes a tree in another way")
    require(_is_compiled(args[0], "newObj"), "makes a tree in another way")
    return args[0].__new__(args[0])


def _is_compiled(kind: Any, function: str) -> bool:
    families = ("sklearn.metrics._dist_metrics", "sklearn.neighbors._kd_tree")
    return kind.__module__ in (*families, "sklearn.neighbors._ball_tree")


def set_distance(distance: Any, state: Any) -> None:
    """Set a distance's numbers; one that calls a function is not among them."""
    require(type(state) is tuple and len(state) == 3, "fills a distance in another way")
    require_types("a distance", state, float, np.ndarray, np.ndarray)
    for array in state[1:]:
        require_array(array)
    distance.__setstate__(state)


def set_neighbours(tree: Any, state: Any) -> None:
    """Set a tree of neighbours, whose arrays must fit one another."""
    from sklearn.metrics._dist_metrics import DistanceMetric

    require(type(state) is tuple and len(state) == 13, "fills a tree in another way")
    kinds = (np.ndarray,) * 4 + (int,) * 7
    require_types("a tree of neighbours", state[:11], *kinds)
    require(issubclass(type(state[11]), DistanceMetric), "fills a tree in another way")
    require(type(state[12]) in (type(None), np.ndarray), "fills a tree in another way")
    data, order, nodes, bounds = state[:4]
    for array in (*state[:2], bounds, *state[12:]):
        require(array is None or type(array) is np.ndarray, "fills a tree in another way")
    require_array(nodes, "V")
    require_array(order, "i")
    right = data.ndim == 2 and order.shape == (len(data),) and nodes.shape == (state[6],)
    right = right and state[6] == 2 ** max(0, min(state[5], 40)) - 1 and bounds.ndim == 3
    right = right and bounds.shape[1] == state[6] and bounds.shape[2] == data.shape[1]
    names = ("idx_start", "idx_end")
    right = right and set(names) <= set(nodes.dtype.names or ())
    require(right, "fills a tree in another way")
    inside = all(nodes[name].min() >= 0 and nodes[name].max() <= len(data) for name in names)
    inside = inside and (not len(order) or (order.min() >= 0 and order.max() < len(data)))
    require(bool(inside), "has a tree whose nodes lead out of it")
    tree.__setstate__(state)


def make_numbered(kind: type, *args: Any) -> Any:
    """Make a loss, which has at most a number or two of its own."""
    right = all(type(each) in (int, float, np.float64) for each in args)
    require(right and len(args) <= 2, f"calls {kind.__name__} with other arguments than a model's")
    return kind(*args)


def make_by_cython(function: Any, *args: Any) -> Any:
    """Make a compiled loss that Cython pickles."""
    require_types(function.__name__, args, type, int, (type(None), tuple))
    kind, _, state = args
    right = kind.__module__ == function.__module__ and function.__name__.endswith(kind.__name__)
    require(right and is_plain(state, 1), "makes a loss in another way")
    return function(*args)


def set_by_cython(loss: Any, state: Any) -> None:
    """Set a compiled loss' numbers."""
    require(type(state) is tuple and is_plain(state, 1), "fills a loss in another way")
    loss.__setstate__(state)
