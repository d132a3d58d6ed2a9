"""Gunicorn settings of the service; the Procfile sets the workers and the address.

The figures are the CPU time of all server processes for one ``POST /predict`` over 32 kept-alive
connections. Server and load generator shared one machine with two cores.
"""

import gc
import os
import sys
from typing import Any

# One loop reads all clients and serves short requests; threads serve long or unusual ones
# (docs/worker.md). Set SLIPWAY_LANE=0 or --worker-class gthread for Gunicorn's own worker.
worker_class = (
    "gthread" if os.environ.get("SLIPWAY_LANE") == "0" else "slipway.web.worker.LoopWorker"
)
threads = 4

# --workers overrides GUNICORN_CMD_ARGS, which overrides WEB_CONCURRENCY, which overrides this.
# Heroku sets WEB_CONCURRENCY=2 automatically on 512 MB, for workers of 256 MB each. Four of these
# workers take 70 MB together.
workers = int(os.environ.get("WEB_CONCURRENCY") or 0) or 4

# No access log: a line takes 55 µs, and the router or proxy usually writes one.
accesslog = None

# Heroku's router keeps connections open for 90 s. If the server closed first, a request could be
# lost.
keepalive = 95

# Heroku kills the dyno 30 s after SIGTERM; pending requests must end before.
graceful_timeout = 20
timeout = 30

# The workers share the memory of the modules and the model. Four workers and their master take
# 67 MB together with the freeze below, 105 MB without the freeze and 119 MB without preloading.
preload_app = True
# A pipeline must not start its own threads before the fork.
os.environ["_SLIPWAY_BEFORE_FORK"] = "1"

# The heartbeat file must not be on a disk that can block.
worker_tmp_dir = "/dev/shm"  # noqa: S108

# Clients could otherwise set SCRIPT_NAME if all proxies are trusted, as on Heroku.
forwarder_headers = ""

# The control socket is unused, and logs errors if the home folder is read-only.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Log the number of workers and the setting that it comes from."""
    server.log.info("workers: %d, by %s", server.cfg.workers, workers_source(server.cfg))


def workers_source(cfg: Any) -> str:
    """Return the setting that the number of workers comes from, in Gunicorn's order."""
    concurrency = os.environ.get("WEB_CONCURRENCY", "")
    sources = {"--workers": sys.argv[1:], "GUNICORN_CMD_ARGS": cfg.get_cmd_args_from_env()}
    for name, arguments in sources.items():
        count = cfg.parser().parse_known_args(arguments)[0].workers
        if count is not None:
            unused = concurrency not in ("", str(count))
            return f"{name}; WEB_CONCURRENCY={concurrency} is not used" if unused else name
    return "WEB_CONCURRENCY" if concurrency.strip("0") else "gunicorn.conf.py"


def when_ready(_server: Any) -> None:
    """Freeze the garbage collector, so that it does not write to the workers' shared memory."""
    gc.collect()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """Allow pipelines to start threads in the worker."""
    os.environ.pop("_SLIPWAY_BEFORE_FORK", None)


def post_worker_init(worker: Any) -> None:
    """Prepare a new worker for its first request.

    Set the proxies that the service trusts to those of Gunicorn's settings. Load the current
    version of the alias, which may be newer than the master's, and follow the alias. Predict the
    golden rows, because a pipeline's first call after the fork takes four times as long.
    """
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(worker.cfg.forwarded_allow_ips)
    getattr(worker.wsgi, "follow", lambda: None)()
    getattr(worker.wsgi, "warm_up", lambda: None)()


def on_reload(server: Any) -> None:
    """Load the current version in the master, because a reload does not preload the app again."""
    getattr(server.app.wsgi(), "before_reload", lambda: None)()
