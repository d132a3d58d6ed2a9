"""A fake of the Docker commands in deploy/box.sh: images are JSON files, containers Gunicorns.

The folder in ``FAKE_DOCKER`` contains ``registry/`` (images to pull), ``images/``, ``containers/``
and ``calls``. An unknown option is an error, as with Docker.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["FAKE_DOCKER"])
ROOT = Path(__file__).parents[2]
TITLE = "org.opencontainers.image.title=Slipway"
REVISION = "org.opencontainers.image.revision"
RUN_ONCE = (
    *("name", "publish", "env-file", "user", "read-only", "tmpfs", "cap-drop", "security-opt"),
    *("memory", "pids-limit", "restart"),
)


def read(kind: str, name: str) -> dict[str, Any]:
    path = FOLDER / kind / f"{name.replace('/', '_')}.json"
    if not path.exists():
        raise SystemExit(f"Error: No such {kind}: {name}")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def read_all(kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((FOLDER / kind).glob("*.json"))]


def write(kind: str, name: str, content: dict[str, Any]) -> None:
    path = FOLDER / kind / f"{name.replace('/', '_')}.json"
    path.with_suffix(f".{os.getpid()}").write_text(json.dumps(content))
    path.with_suffix(f".{os.getpid()}").rename(path)


def image_of(name: str) -> dict[str, Any]:
    for image in read_all("images"):
        if name in (image["id"], image["name"]):
            return image
    raise SystemExit(f"Error: No such image: {name}")


def is_running(container: dict[str, Any]) -> bool:
    stat = Path(f"/proc/{container['pid']}/stat")
    try:
        # An ended process is a zombie until its parent reads its status.
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pull(words: list[str]) -> None:
    if (FOLDER / "away").exists():
        raise SystemExit("Error: the registry cannot be reached")
    image = read("registry", words[-1])
    write("images", image["id"], image)
    print(image["name"])


def run(words: list[str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=True)
    for option in RUN_ONCE:
        flag = "store_true" if option == "read-only" else "store"
        parser.add_argument(f"--{option}", required=True, action=flag)
    for option in ("env", "label", "volume", "log-opt"):
        parser.add_argument(f"--{option}", action="append", required=True)
    parser.add_argument("--detach", action="store_true", required=True)
    parser.add_argument("image")
    options = parser.parse_args(words)
    if (FOLDER / "containers" / f"{options.name}.json").exists():
        raise SystemExit(f"Error: the name {options.name} is in use")
    image = image_of(options.image)
    lines = Path(options.env_file).read_text().split() + options.env
    environ = dict(line.split("=", 1) for line in lines) | image["environ"]
    port = re.fullmatch(r"127\.0\.0\.1:(\d+):8000", options.publish)[1]  # type: ignore[index]
    command = (
        *(sys.executable, "-m", "gunicorn", image["app"], f"--bind=127.0.0.1:{port}"),
        "--workers=1",
    )
    log = FOLDER / "containers" / f"{options.name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "tests" / "helpers"),
                **environ,
            },
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    labels = dict(line.split("=", 1) for line in options.label)
    container = {"name": options.name, "pid": process.pid, "image": image["id"], "labels": labels}
    write("containers", options.name, container)


def stop(words: list[str]) -> None:
    seconds, name = int(words[words.index("-t") + 1]), words[-1]
    container = read("containers", name)
    began = time.monotonic()
    if is_running(container):
        os.kill(container["pid"], signal.SIGTERM)
    while is_running(container) and time.monotonic() < began + seconds:
        time.sleep(0.05)
    killed = is_running(container)
    if killed:
        os.killpg(container["pid"], signal.SIGKILL)
    write("containers", name, container | {"killed": killed})


def rm(words: list[str]) -> None:
    name = words[-1]
    container = read("containers", name)
    if is_running(container):
        os.killpg(container["pid"], signal.SIGKILL)
    (FOLDER / "containers" / f"{name}.json").unlink()


def inspect(words: list[str]) -> None:
    container = read("containers", words[-1])
    values = {
        "{{.State.Status}} {{.RestartCount}}": "running 0" if is_running(container) else "exited 0"
    }
    print(values[words[words.index("--format") + 1]])


def image(words: list[str]) -> None:
    assert words[0] == "inspect"
    found_image = image_of(words[-1])
    values = {
        "{{.Id}}": found_image["id"],
        f'{{{{index .Config.Labels "{REVISION}"}}}}': found_image["revision"],
    }
    print(values[words[words.index("--format") + 1]])


def images(words: list[str]) -> None:
    assert words == ["--no-trunc", "--quiet", "--filter", f"label={TITLE}"]
    for item in read_all("images"):
        if item["ours"]:
            print(item["id"])


def ps(words: list[str]) -> None:
    wanted = words[words.index("--filter") + 1]
    for item in read_all("containers"):
        if wanted == f"ancestor={item['image']}":
            print(item["name"])
        elif wanted == "label=slipway.image":
            state = "Up" if is_running(item) else "Exited"
            print(item["name"], state, *item["labels"].values(), sep="\t")


def rmi(words: list[str]) -> None:
    found_image = image_of(words[-1])
    if any(
        item["image"] == found_image["id"] and is_running(item) for item in read_all("containers")
    ):
        raise SystemExit("Error: unable to delete: image is being used by running container")
    (FOLDER / "images" / f"{found_image['id']}.json").unlink()


def logs(words: list[str]) -> None:
    read("containers", words[-1])
    print((FOLDER / "containers" / f"{words[-1]}.log").read_text(), end="")


if __name__ == "__main__":
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    {
        command.__name__: command
        for command in (pull, run, stop, rm, inspect, image, images, ps, rmi, logs)
    }[sys.argv[1]](sys.argv[2:])
