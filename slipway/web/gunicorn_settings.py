"""How Gunicorn runs the service; the Procfile gives the workers and the address.

The figures are from one machine with two cores that server and load generator shared: CPU of
all server processes for one ``POST /predict`` over 32 kept-alive connections.
"""

import gc
import os
import sys
from typing import Any

# One loop reads all clients and answers what is short; its threads take what is long or unusual
# (docs/worker.md). SLIPWAY_LANE=0, or --worker-class gthread, goes back to Gunicorn's own.
worker_class = (
    "gthread" if os.environ.get("SLIPWAY_LANE") == "0" else "slipway.web.worker.LoopWorker"
)
threads = 4

# What --workers says goes first, as in the Procfile, then GUNICORN_CMD_ARGS, then WEB_CONCURRENCY,
# then this. Heroku sets WEB_CONCURRENCY=2 by itself on 512 MB, which is for workers of 256 MB each;
# four of these take 70 MB together.
workers = int(os.environ.get("WEB_CONCURRENCY") or 0) or 4

# No access log: a line takes 55 µs, and who needs one has the router's or the proxy's.
accesslog = None

# Heroku's router keeps connections open for 90 s, and a server that closes first loses a
# request. It makes no difference to the speed.
keepalive = 95

# The dyno is killed 30 s after SIGTERM, so that what is in flight must be done before.
graceful_timeout = 20
timeout = 30

# The modules and the model are loaded once and shared by the workers' memory: with the freeze
# below, four workers and their master take 67 MB together, without it 105 MB, and 119 MB
# without preloading.
preload_app = True
# A pipeline that starts threads of its own must not do so before the fork.
os.environ["_SLIPWAY_BEFORE_FORK"] = "1"

# The heartbeat file must not be on a disk that can block.
worker_tmp_dir = "/dev/shm"  # noqa: S108

# A client could otherwise set SCRIPT_NAME wherever all proxies are trusted, as on Heroku.
forwarder_headers = ""

# Nobody uses the control socket, and it logs errors where the home folder cannot be written.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Tell how many workers there will be, and who said so."""
    server.log.info("workers: %d, by %s", server.cfg.workers, _who_says(server.cfg))


def _who_says(cfg: Any) -> str:
    """Name what the number of workers comes from, in Gunicorn's own order."""
    by_environ = os.environ.get("WEB_CONCURRENCY", "")
    told = {"--workers": sys.argv[1:], "GUNICORN_CMD_ARGS": cfg.get_cmd_args_from_env()}
    for name, words in told.items():
        said = cfg.parser().parse_known_args(words)[0].workers
        if said is not None:
            unused = by_environ not in ("", str(said))
            return f"{name}; WEB_CONCURRENCY={by_environ} is not used" if unused else name
    return "WEB_CONCURRENCY" if by_environ.strip("0") else "gunicorn.conf.py"


def when_ready(_server: Any) -> None:
    """Keep the collector from writing to the memory that the workers are about to share."""
    gc.collect()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """Let the worker use threads."""
    os.environ.pop("_SLIPWAY_BEFORE_FORK", None)


def post_worker_init(worker: Any) -> None:
    """Make a new worker ready for its first request.

    The service trusts the same proxies as Gunicorn, however that was told. It takes the version
    that serves by now, which may not be the one that the master has loaded, and follows it. And
    it answers once for itself, because the first call of a pipeline after the fork takes four
    times as long.
    """
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(worker.cfg.forwarded_allow_ips)
    getattr(worker.wsgi, "follow", lambda: None)()
    getattr(worker.wsgi, "warm_up", lambda: None)()


def on_reload(server: Any) -> None:
    """Bring the master up to date before it makes new workers, as nothing is preloaded again."""
    getattr(server.app.wsgi(), "before_reload", lambda: None)()
