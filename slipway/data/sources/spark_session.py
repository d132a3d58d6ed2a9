"""Start and stop Spark sessions: local, on a cluster, or with Spark Connect."""

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
from slipway.data.sources.java_runtime import find_java_home
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
    # Hive tables reject timestamps without a zone, which Spark infers from files of pandas.
    "spark.sql.parquet.inferTimestampNTZ.enabled": "false",
}
DRIVER = SESSION | {
    # Otherwise Spark waits forever for a thread that ran out of memory.
    "spark.driver.defaultJavaOptions": "-XX:+ExitOnOutOfMemoryError",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def open_spark(master: str, app: str, **conf: str) -> Iterator[SparkSession]:
    """Start a Spark session, and stop it and its Java process at the end.

    Parameters
    ----------
    master : str
        For example ``local[2]``, ``spark://host:7077``, ``yarn`` or ``sc://host:15002``.
    app : str
        The name that the cluster shows.
    **conf : str
        Spark settings, which override the defaults.

    Yields
    ------
    SparkSession

    Raises
    ------
    SlipwayError
        Spark or Java is not installed, or the master is not reachable.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SlipwayError(INSTALL) from error
    if SparkSession.getActiveSession() is not None:
        raise SlipwayError("this process already has a Spark session; stop it first")
    _require_master(master)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="slipway-spark-")))
        if master.startswith("sc://"):
            yield stack.enter_context(_open_connect_session(master, app, conf))
        else:
            yield stack.enter_context(_open_driver_session(master, app, conf, scratch))


@contextmanager
def _open_connect_session(url: str, app: str, conf: Mapping[str, str]) -> Iterator[SparkSession]:
    """Open a session on a Spark Connect server."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # The builder marks the process as a client in the environment, and never resets this.
    with _set_environment({}, forget=("SPARK_CONNECT_MODE_ENABLED",)):
        try:
            builder = SparkSession.builder.remote(url).appName(app)
            for key, value in (SESSION | dict(conf)).items():
                builder = builder.config(key, value)
            session = builder.getOrCreate()
        except ImportError as error:
            raise SlipwayError(f"{INSTALL} (Spark Connect: {error})") from error
        except PySparkException as error:
            reason = str(error).splitlines()[0]
            raise SlipwayError(f"Spark Connect did not start a session: {reason}") from error
        try:
            yield session
        finally:
            session.stop()


@contextmanager
def _open_driver_session(
    master: str, app: str, conf: Mapping[str, str], scratch: Path
) -> Iterator[SparkSession]:
    """Open a session whose driver is a Java subprocess."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    settings = _driver_settings(master, app, conf, scratch)
    private_conf, public_conf = SparkConf(loadDefaults=False), SparkConf(loadDefaults=False)
    private_conf.setAll([*settings.items()])
    # These settings become command-line arguments, which process lists show.
    public_conf.setAll([item for item in settings.items() if not SECRET.search(item[0].lower())])
    log = scratch / "spark.log"
    with ExitStack() as stack:
        try:
            with _set_environment(_driver_environment(master, scratch)):
                gateway = stack.enter_context(_start_java(public_conf, log))
                context = SparkContext(conf=private_conf, gateway=gateway)
            session = SparkSession(context)
            stack.callback(_stop, session)
            _require_executor(session, master)
        except SlipwayError:
            raise
        # Py4J raises Java exceptions, and its own errors if Java has exited.
        except Exception as error:
            reason = _failure_reason(error, log)
            raise SlipwayError(f"Spark did not start on {master}: {reason}") from error
        try:
            yield session
        except SlipwayError as error:
            if gateway.proc.poll() is None:
                raise
            fix = "if it ran out of memory, increase spark.driver.memory"
            raise SlipwayError(f"{error.message}: Spark's Java exited; {fix}") from error


def _stop(session: SparkSession) -> None:
    """Stop a session; ignore errors if its Java has exited."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]

    with suppress(Py4JError, OSError):
        session.stop()


@contextmanager
def _start_java(conf: SparkConf, log: Path) -> Iterator[Any]:
    """Start and stop the Java process; PySpark keeps it until Python exits."""
    from pyspark.java_gateway import launch_gateway

    handler = signal.getsignal(signal.SIGINT)
    with log.open("wb") as log_file:
        output = {"stdout": log_file, "stderr": log_file}
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
    """Clear PySpark's globals; a later session would use the exited Java."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = SparkSession._activeSession = None


def _driver_settings(
    master: str, app: str, conf: Mapping[str, str], scratch: Path
) -> dict[str, str]:
    """Return the settings of a driver."""
    settings = DRIVER | {"spark.master": master, "spark.app.name": app}
    if conf.get("spark.sql.catalogImplementation") != "hive":
        # The default is in the working folder.
        settings["spark.sql.warehouse.dir"] = str(scratch / "warehouse")
    if is_local(master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    if master.startswith("local"):
        # Starting 200 tasks, the default, takes longer than the work.
        settings["spark.sql.shuffle.partitions"] = str(2 * (os.cpu_count() or 1))
        settings["spark.local.dir"] = str(scratch)
    return settings | dict(conf)


def _driver_environment(master: str, scratch: Path) -> dict[str, str]:
    """Return the environment variables that a driver needs."""
    home = find_java_home(scratch)
    variables = {} if home is None else {"JAVA_HOME": str(home)}
    if is_local(master):
        # The defaults are the external address and the first Python in PATH.
        variables |= {"SPARK_LOCAL_IP": LOOPBACK, "PYSPARK_PYTHON": sys.executable}
    return variables


def is_local(master: str) -> bool:
    """Return whether a master runs in this process or on the loopback interface."""
    host = urlsplit(master).hostname if "://" in master else None
    return master.startswith("local") or host in ("localhost", "127.0.0.1", "::1")


def require_reachable(kind: str, addresses: Sequence[str]) -> None:
    """Raise an error if no server listens; Spark itself would wait for minutes.

    Parameters
    ----------
    kind : str
        The kind of server, for the message.
    addresses : sequence of str
        Hosts with ports; one reachable server is enough.

    Raises
    ------
    SlipwayError
        No server is reachable.
    """
    cause: Exception | None = None
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
        except (OSError, ValueError) as error:
            cause = error
        else:
            return
    where = ", ".join(addresses)
    fix = "check the address, and that the server runs"
    raise SlipwayError(f"no {kind} answers at {where}: {cause}; {fix}") from cause


def _require_master(master: str) -> None:
    """Raise an error if a master is not reachable."""
    for scheme, (kind, port) in SERVERS.items():
        if master.startswith(scheme):
            servers = master.removeprefix(scheme).partition("/")[0].split(",")
            addresses = [place if ":" in place else f"{place}:{port}" for place in servers]
            require_reachable(kind, addresses)


def _require_executor(session: SparkSession, master: str) -> None:
    """Raise an error if a cluster starts no executor; Spark would wait forever."""
    if not master.startswith("spark://"):
        return
    context = session.sparkContext
    timer = threading.Timer(EXECUTOR_SECONDS, context.cancelAllJobs)
    timer.start()
    try:
        session.range(1).count()
    except Exception as error:
        problem = f"started no executor within {EXECUTOR_SECONDS} s"
        fix = "its workers are busy or have less memory than spark.executor.memory"
        raise SlipwayError(f"the Spark master {master} {problem}: {fix}") from error
    finally:
        timer.cancel()


def _failure_reason(error: Exception, log: Path) -> str:
    """Return the first errors in Spark's log, or else the exception's first line."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    errors = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
    exception = (str(error).splitlines() or [type(error).__name__])[0]
    return "; ".join(errors[:LOG_LINES] or [exception])


@contextmanager
def _set_environment(variables: Mapping[str, str], forget: tuple[str, ...] = ()) -> Iterator[None]:
    """Set variables and restore them at the end; also restore those in ``forget``."""
    before = {name: os.environ.get(name) for name in (*variables, *forget)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
