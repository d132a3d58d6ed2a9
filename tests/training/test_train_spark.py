"""Training on a real Spark cluster that loses a worker during the fit.

The reference is scikit-learn's own Newton on the same rows in memory.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyspark import SparkContext
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline
from spark_cluster import DEPLOY, WORKERS, running_spark, wait_until

from slipway.data.dataset import FOLD
from slipway.data.problem_loading import load_problem
from slipway.training.engines.memory import fit
from slipway.training.engines.spark.fit import fit_spark
from slipway.training.splits import Split

pytest_plugins = ["spark_cluster"]
pytestmark = pytest.mark.slow
# 98,000 flights; a fit on all flights is as exact and takes twice the time.
FOLDS = (0, 1, 2)


@dataclass
class Fitted:
    """A pipeline, the messages of its training, and the killed processes."""

    pipeline: Pipeline
    messages: list[str]
    executors_before: int
    executors_after: int


@pytest.fixture(scope="module")
def on_cluster(spark_cluster, stored, tmp_path_factory):
    """The flights, fitted on three workers, one of which is killed during the fit."""
    messages = []
    result = {}
    killer = threading.Thread(target=lambda: result.update(kill_when_busy(spark_cluster)))

    def progress(text):
        messages.append(text)
        if "fitting the coefficients" in text:
            # The third worker may start late, and the job does not wait for it.
            wait_for(lambda: executors(SparkContext._active_spark_context) == WORKERS + 1)
            killer.start()

    folder = tmp_path_factory.mktemp("third")
    work = ["--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0"]
    run = ["spark-class", f"{DEPLOY}.worker.Worker", *work, "--work-dir", str(folder / "work")]
    with running_spark(folder, "worker", [*run, spark_cluster]):
        registered = "Successfully registered with master"
        wait_until(lambda: registered in (folder / "worker.log").read_text(), "worker", folder)
        pipeline = fit_spark(
            load_problem("flights"),
            stored,
            master=spark_cluster,
            folds=FOLDS,
            progress=progress,
        )
        killer.join()
    return Fitted(pipeline, messages, result["before"], result["after"])


def kill_when_busy(master):
    """Kill the youngest worker and its executor as soon as the optimiser's tasks run."""
    context = SparkContext._active_spark_context
    wait_for(lambda: stage_runs(context, "treeAggregate"))
    before = executors(context)
    workers = [p for p in children() if {master, f"{DEPLOY}.worker.Worker"} <= {*p.cmdline()}]
    worker = max(workers, key=psutil.Process.create_time)
    executor = [p for p in worker.children() if "java" in p.name()]
    assert executor, "the worker runs no executor"
    for process in (worker, *executor):
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: executors(context) < before)
    return {"before": before, "after": executors(context)}


def children():
    """Return the running child processes of this process, recursively."""
    every = psutil.Process().children(recursive=True)
    return [process for process in every if process.status() != psutil.STATUS_ZOMBIE]


def stage_runs(context, name):
    tracker = context.statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return any(s and s.numActiveTasks and name in s.name for s in stages)


def executors(context):
    """Count the executors, including the driver."""
    return context._jsc.sc().getExecutorMemoryStatus().size() - 1


def wait_for(ready, seconds=300):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def in_memory(stored, rows):
    """The pipeline of the same flights, fitted by scikit-learn."""
    folds = pa.Table.from_batches(stored.batches([FOLD]))[FOLD].to_numpy()
    split = Split("", np.flatnonzero(np.isin(folds, FOLDS)), np.flatnonzero(rows.held_out))
    return fit(load_problem("flights"), rows, split)


def test_cluster_flights_equal_scikit_learn_in_coefficients(on_cluster, in_memory):
    ours, theirs = on_cluster.pipeline[-1], in_memory[-1]
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.abs(ours.coef_ - theirs.coef_).max() < 1e-7
    assert np.abs(ours.intercept_ - theirs.intercept_).max() < 1e-7


def test_cluster_flights_equal_scikit_learn_in_probabilities_and_auc(on_cluster, in_memory, rows):
    X, y = rows.X[rows.held_out], rows.y[rows.held_out]
    ours, theirs = (m.predict_proba(X)[:, 1] for m in (on_cluster.pipeline, in_memory))
    assert np.abs(ours - theirs).max() < 1e-9
    assert roc_auc_score(y, ours) == pytest.approx(roc_auc_score(y, theirs), abs=1e-9)


def test_cluster_worker_killed_during_the_fit_does_not_stop_the_job(on_cluster):
    assert (on_cluster.executors_before, on_cluster.executors_after) == (3, 2)
    assert "L-BFGS" in on_cluster.messages[2], "the fit went on after the kill"
    assert "Newton's step" in on_cluster.messages[-1]
