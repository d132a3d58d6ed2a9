"""A Spark session, from start to end: local, on a cluster, or by Spark Connect."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.core.errors import SlipwayError
from slipway.data.sources.java_runtime import java_home
from slipway.data.sources.source_url import SECRET

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

INSTALL = "Spark is not installed: pip install 'slipway[spark]'"
LOOPBACK = "127.0.0.1"
LOG_LINES = 2
PROBE_SECONDS = 10.0
EXECUTOR_SECONDS = 120
SERVERS = {"spark://": ("Spark master", 7077), "sc://": ("Spark Connect server", 15002)}
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    # Hive tables refuse a timestamp without a zone, which pandas writes and Spark would infer.
    "spark.sql.parquet.inferTimestampNTZ.enabled": "false",
}
DRIVER = SESSION | {
    # Spark would otherwise wait for ever for the thread that had no memory.
    "spark.driver.defaultJavaOptions": "-XX:+ExitOnOutOfMemoryError",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def open_spark(master: str, app: str, **conf: str) -> Iterator[SparkSession]:
    """Start a Spark session and stop all of it at the end, its Java process too.

    Parameters
    ----------
    master : str
        ``local[2]``, ``spark://host:7077``, ``yarn``, ``sc://host:15002`` and the like.
    app : str
        The name that the cluster shows.
    **conf : str
        Spark's own settings, which win over the ones made here.

    Yields
    ------
    SparkSession

    Raises
    ------
    SlipwayError
        There is no Spark, no Java, or the master does not answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SlipwayError(INSTALL) from error
    if SparkSession.getActiveSession() is not None:
        raise SlipwayError("this process runs a Spark session already; stop it first")
    _require_master(master)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="slipway-spark-")))
        if master.startswith("sc://"):
            yield stack.enter_context(_connected(master, app, conf))
        else:
            yield stack.enter_context(_driven(master, app, conf, scratch))


@contextmanager
def _connected(url: str, app: str, conf: Mapping[str, str]) -> Iterator[SparkSession]:
    """Open a session on a Spark Connect server."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # The builder notes in the environment that this process is a client, and never takes it back.
    with _environment({}, forget=("SPARK_CONNECT_MODE_ENABLED",)):
        try:
            builder = SparkSession.builder.remote(url).appName(app)
            for key, value in (SESSION | dict(conf)).items():
                builder = builder.config(key, value)
            session = builder.getOrCreate()
        except ImportError as error:
            raise SlipwayError(f"{INSTALL} (Spark Connect: {error})") from error
        except PySparkException as error:
            said = str(error).splitlines()[0]
            raise SlipwayError(f"the Spark Connect server gave no session: {said}") from error
        try:
            yield session
        finally:
            session.stop()


@contextmanager
def _driven(
    master: str, app: str, conf: Mapping[str, str], scratch: Path
) -> Iterator[SparkSession]:
    """Open a session whose driver is a Java process of this one."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    chosen = _settings(master, app, conf, scratch)
    settings, open_settings = SparkConf(loadDefaults=False), SparkConf(loadDefaults=False)
    settings.setAll([*chosen.items()])
    # These are words of a command, which lists of processes show.
    open_settings.setAll([item for item in chosen.items() if not SECRET.search(item[0].lower())])
    log = scratch / "spark.log"
    with ExitStack() as stack:
        try:
            with _environment(_variables(master, scratch)):
                gateway = stack.enter_context(_java(open_settings, log))
                context = SparkContext(conf=settings, gateway=gateway)
            session = SparkSession(context)
            stack.callback(_stopped, session)
            _require_executor(session, master)
        except SlipwayError:
            raise
        # Py4J raises what Java threw, and its own errors where Java has ended.
        except Exception as error:
            raise SlipwayError(f"Spark did not start on {master}: {_reason(error, log)}") from error
        try:
            yield session
        except SlipwayError as error:
            if gateway.proc.poll() is None:
                raise
            fix = "if it ran out of memory, give it more: spark.driver.memory"
            raise SlipwayError(f"{error.message}: Spark's Java has ended; {fix}") from error


def _stopped(session: SparkSession) -> None:
    """Stop a session; where its Java has ended, nothing is left to be stopped."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]

    with suppress(Py4JError, OSError):
        session.stop()


@contextmanager
def _java(conf: SparkConf, log: Path) -> Iterator[Any]:
    """Start the Java process and end it; PySpark would leave it until Python itself ends."""
    from pyspark.java_gateway import launch_gateway

    handler = signal.getsignal(signal.SIGINT)
    with log.open("wb") as written:
        output = {"stdout": written, "stderr": written}
        gateway = launch_gateway(conf, output)  # type: ignore[no-untyped-call]
    try:
        yield gateway
    finally:
        with suppress(OSError):
            gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(60)
        _forget_session()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _forget_session() -> None:
    """Forget what PySpark keeps; a later session would talk to a Java that has ended."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = SparkSession._activeSession = None


def _settings(master: str, app: str, conf: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Give the settings of a driver."""
    settings = DRIVER | {"spark.master": master, "spark.app.name": app}
    if conf.get("spark.sql.catalogImplementation") != "hive":
        # By default the current folder gets one.
        settings["spark.sql.warehouse.dir"] = str(scratch / "warehouse")
    if is_local(master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    if master.startswith("local"):
        # A task for each of 200 parts would take longer than the work.
        settings["spark.sql.shuffle.partitions"] = str(2 * (os.cpu_count() or 1))
        settings["spark.local.dir"] = str(scratch)
    return settings | dict(conf)


def _variables(master: str, scratch: Path) -> dict[str, str]:
    """Give what only the environment can tell Spark."""
    home = java_home(scratch)
    variables = {} if home is None else {"JAVA_HOME": str(home)}
    if is_local(master):
        # Spark would take the machine's outside address, and whatever Python is first in PATH.
        variables |= {"SPARK_LOCAL_IP": LOOPBACK, "PYSPARK_PYTHON": sys.executable}
    return variables


def is_local(master: str) -> bool:
    """Whether a master is this process or on this machine's loopback."""
    host = urlsplit(master).hostname if "://" in master else None
    return master.startswith("local") or host in ("localhost", "127.0.0.1", "::1")


def require_answer(kind: str, addresses: Sequence[str]) -> None:
    """Refuse a server that nobody listens at, for which Spark itself would wait for minutes.

    Parameters
    ----------
    kind : str
        What is meant to be there.
    addresses : sequence of str
        Host and port; one that answers is enough.

    Raises
    ------
    SlipwayError
        None answers.
    """
    said: Exception | None = None
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
        except (OSError, ValueError) as error:
            said = error
        else:
            return
    where = ", ".join(addresses)
    fix = "check the address, and that it runs"
    raise SlipwayError(f"no {kind} answers at {where}: {said}; {fix}") from said


def _require_master(master: str) -> None:
    """Refuse a master that does not answer."""
    for scheme, (kind, port) in SERVERS.items():
        if master.startswith(scheme):
            places = master.removeprefix(scheme).partition("/")[0].split(",")
            named = [place if ":" in place else f"{place}:{port}" for place in places]
            require_answer(kind, named)


def _require_executor(session: SparkSession, master: str) -> None:
    """Refuse a cluster that gives no executor; Spark would wait for one for ever."""
    if not master.startswith("spark://"):
        return
    context = session.sparkContext
    late = threading.Timer(EXECUTOR_SECONDS, context.cancelAllJobs)
    late.start()
    try:
        session.range(1).count()
    except Exception as error:
        fix = "its workers are busy, or have less memory than spark.executor.memory"
        waited = f"no executor within {EXECUTOR_SECONDS} s"
        raise SlipwayError(f"the Spark master {master} gave {waited}: {fix}") from error
    finally:
        late.cancel()


def _reason(error: Exception, log: Path) -> str:
    """Give Spark's own words: what its log calls an error, else what it raised."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    said = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
    raised = (str(error).splitlines() or [type(error).__name__])[0]
    return "; ".join(said[:LOG_LINES] or [raised])


@contextmanager
def _environment(variables: Mapping[str, str], forget: tuple[str, ...] = ()) -> Iterator[None]:
    """Set variables, and restore them at the end, with those that others may set meanwhile."""
    before = {name: os.environ.get(name) for name in (*variables, *forget)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
