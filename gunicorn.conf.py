"""How Gunicorn runs the service; the Procfile gives the workers and the address."""

# Threads, because four slow request bodies would stop four sync workers altogether.
worker_class = "gthread"
threads = 4

# Heroku's router keeps connections open for 90 s, and a server that closes first loses a request.
keepalive = 95

# The dyno is killed 30 s after SIGTERM, so that what is in flight must be done before.
graceful_timeout = 20
timeout = 30

# The modules and the model are loaded once and shared by the workers' memory.
preload_app = True

# The heartbeat file must not be on a disk that can block.
worker_tmp_dir = "/dev/shm"  # noqa: S108

# A client could otherwise set SCRIPT_NAME wherever all proxies are trusted, as on Heroku.
forwarder_headers = ""

# Nobody uses the control socket, and it logs errors where the home folder cannot be written.
control_socket_disable = True
