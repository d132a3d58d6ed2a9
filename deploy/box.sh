#!/usr/bin/env bash
# Run Slipway on one machine: containers by Docker, and nginx in front of them.
#
#   deploy/box.sh deploy IMAGE       pull an image and serve it
#   deploy/box.sh rollback [IMAGE]   serve the previous image again, or the given one
#   deploy/box.sh revoke IMAGE       roll back, if this image still serves
#   deploy/box.sh status             print the serving container, the others and the rollback target
#   deploy/box.sh logs [WORD...]     print the log of the serving container; words go to `docker logs`
#
# The new container starts beside the old one. It serves when it is ready and has passed the smoke
# test directly and through nginx. The old one is stopped when its last response is sent. A new
# container that fails is removed, and the old one serves again. The state is a folder:
#
#   live-8001 or live-8002   names the serving port; read by nginx (nginx/slipway.conf)
#   deployed                 the images that served, one a line, the present one last
#
# The user needs membership in the group docker, a writable state folder and a readable env file,
# but not root. Set the settings below in /etc/slipway/box, or in the environment.
set -euo pipefail

# shellcheck source=/dev/null
if [[ -r ${SLIPWAY_BOX:=/etc/slipway/box} ]]; then source "$SLIPWAY_BOX"; fi
STATE=${SLIPWAY_BOX_STATE:-/var/lib/slipway}
ENV_FILE=${SLIPWAY_BOX_ENV:-/etc/slipway/env}
MEMORY=${SLIPWAY_BOX_MEMORY:-512m}
# Ports: the two containers, nginx in front of each of them, nginx in front of the serving one.
read -r -a PORTS <<<"${SLIPWAY_BOX_PORTS:-8001 8002}"
read -r -a DOORS <<<"${SLIPWAY_BOX_DOORS:-8011 8012}"
FRONT=${SLIPWAY_BOX_FRONT:-8000}
# Seconds for a container to be ready, for the old one's last responses, for another deployment.
READY=${SLIPWAY_BOX_READY:-60}
DRAIN=${SLIPWAY_BOX_DRAIN:-30}
LOCK=${SLIPWAY_BOX_LOCK:-900}
SMOKE=${SLIPWAY_BOX_SMOKE:-$(dirname "${BASH_SOURCE[0]}")/../slipway/monitoring/smoke.py}
# Number of images to keep besides the serving one.
KEEP=2
TITLE=org.opencontainers.image.title=Slipway

say() { printf '%s %s\n' "$(date -u +%H:%M:%SZ)" "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

setting() { [[ ! -r $ENV_FILE ]] || sed -n "s/^$1=//p" "$ENV_FILE" | tail -n 1; }
id_of() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; }
state_of() { docker inspect --format '{{.State.Status}} {{.RestartCount}}' "$1" 2>/dev/null; }

live_port() {
    local port
    for port in "${PORTS[@]}"; do
        if [[ -e $STATE/live-$port ]]; then echo "$port"; return; fi
    done
}

# Run one deployment at a time. The kernel releases the lock however this script ends.
lock() {
    mkdir -p "$STATE"
    exec 9>>"$STATE/lock"
    flock --nonblock 9 && return
    say "another deploy is at work; waiting for it, $LOCK s at most"
    flock --wait "$LOCK" 9 || fail "the other deploy is still at work"
}

pull() {
    docker pull --quiet "$1" && return
    # On a machine with its own role, AWS's registry returns a password.
    if [[ $1 =~ ^([0-9]+\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com)/ ]] && command -v aws >/dev/null; then
        aws ecr get-login-password --region "${BASH_REMATCH[2]}" |
            docker login --username AWS --password-stdin "${BASH_REMATCH[1]}" && docker pull --quiet "$1"
    else
        return 1
    fi
}

# start PORT IMAGE ID
start() {
    local revision
    revision=$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$3")
    docker rm --force --volumes "slipway-$1" >/dev/null 2>&1 || true
    # /tmp is a volume, not a tmpfs, because uploaded files may be larger than the memory. The cache
    # holds the last good model. All proxies are trusted, because only loopback reaches the port.
    docker run --detach --name "slipway-$1" --publish "127.0.0.1:$1:8000" \
        --env-file "$ENV_FILE" --env PORT=8000 --env FORWARDED_ALLOW_IPS='*' \
        --env "SLIPWAY_REVISION=$revision" --label "slipway.image=$2" --label "slipway.revision=$revision" \
        --user 10001:10001 --read-only --tmpfs /run --volume /tmp --volume slipway-cache:/var/cache/slipway \
        --cap-drop ALL --security-opt no-new-privileges --memory "$MEMORY" --pids-limit 256 \
        --restart unless-stopped --log-opt max-size=10m --log-opt max-file=5 "$3" >/dev/null
}

# Wait until a container is ready, or has exited.
ready() {
    local deadline=$((SECONDS + READY)) state
    until curl --silent --fail --max-time 5 --output /dev/null "http://127.0.0.1:$1$PREFIX/readyz"; do
        state=$(state_of "slipway-$1") || state=gone
        if [[ $state != "running 0" ]]; then say "the new container has ended: $state"; return 1; fi
        if ((SECONDS >= deadline)); then say "not ready after $READY s"; return 1; fi
        sleep 0.3
    done
}

smoke() {
    local found
    found=$(python3 -I "$SMOKE" --wait 5 --host "${HOST#.}" "http://127.0.0.1:$1$PREFIX") || { echo "$found"; return 1; }
    say "asked at port $1: ${found##*$'\n'}"
}

# Switch with one rename, so that a container serves at any moment.
switch() {
    if [[ -e $STATE/live-$1 ]]; then mv "$STATE/live-$1" "$STATE/live-$2"; else : >"$STATE/live-$2"; fi
}

# Check that the proxy forwards to this port.
serves() {
    curl --silent --max-time 5 --output /dev/null --dump-header - "http://127.0.0.1:$FRONT$PREFIX/livez" |
        tr -d '\r' | grep --quiet --ignore-case --line-regexp "x-slipway-container: 127.0.0.1:$1"
}

# Wait until nginx has no connection to a container. nginx closes idle ones after 4 seconds.
drain() {
    local deadline=$((SECONDS + DRAIN)) port
    printf -v port '%04X' "$1"
    while sleep 0.3; awk -v to=":$port\$" '$3 ~ to && $4 == "01" { n++ } END { exit !n }' /proc/net/tcp; do
        if ((SECONDS >= deadline)); then say "still answering after $DRAIN s"; return; fi
    done
}

# Restore the old state if this script ends before the new container has passed all checks.
undo() {
    local status=$?
    trap - EXIT
    if [[ -n ${NEW:-} ]]; then
        if [[ -e $STATE/live-$NEW ]]; then
            if [[ -n $OLD ]]; then switch "$NEW" "$OLD"; else rm "$STATE/live-$NEW"; fi
            drain "$NEW"
        fi
        say "the last lines of the new container's log:"
        docker logs --tail 20 "slipway-$NEW" 2>&1 | sed 's/^/    /' || true
        docker rm --force --volumes "slipway-$NEW" >/dev/null || true
        say "FAILED: ${OLD:+slipway-}${OLD:-nothing} serves, as before" >&2
        status=1
    fi
    exit "$status"
}

# let_serve IMAGE ID HOW
let_serve() {
    local at=0
    PREFIX=$(setting SCRIPT_NAME) HOST=$(setting SLIPWAY_TRUSTED_HOSTS) HOST=${HOST%%,*}
    OLD=$(live_port)
    if [[ $OLD == "${PORTS[0]}" ]]; then at=1; fi
    NEW=${PORTS[at]}
    trap undo EXIT
    trap 'exit 1' INT TERM HUP
    say "starting slipway-$NEW: $1"
    start "$NEW" "$1" "$2"
    ready "$NEW" || exit 1
    say "ready"
    smoke "$NEW" || exit 1
    smoke "${DOORS[at]}" || exit 1
    switch "${OLD:-$NEW}" "$NEW"
    serves "$NEW" || { say "nginx does not ask slipway-$NEW"; exit 1; }
    smoke "$FRONT" || exit 1
    say "slipway-$NEW serves"
    # From here on the new container stays, however this script ends.
    SERVES=slipway-$NEW NEW=''
    trap 'say "ended early, but $SERVES serves all the same" >&2; exit 1' INT TERM HUP
    note "$1" "$2" "$3"
    if [[ -n $OLD ]]; then
        drain "$OLD"
        # Keep the stopped container for its log, until its port is needed.
        docker stop -t 30 "slipway-$OLD" >/dev/null || true
    fi
}

# note IMAGE ID HOW: record the serving image. A rollback removes the images deployed after it; if it
# is older than all recorded ones, it removes all. Repeated rollbacks thus only go back.
note() {
    touch "$STATE/deployed"
    awk -v id="$2" -v how="$3" '
        $1 == id { if (how == "rollback") { there = 1; exit } next }
        { before = before $0 "\n" }
        END { if (how != "rollback" || there) printf "%s", before }' "$STATE/deployed" |
        { cat; echo "$2 $1"; } | tail -n $((KEEP + 1)) >"$STATE/deployed.new"
    mv "$STATE/deployed.new" "$STATE/deployed"
}

# Remove Slipway's images, except those that a rollback or a container needs.
prune() {
    local id
    for id in $(docker images --no-trunc --quiet --filter "label=$TITLE" | sort -u); do
        if grep --quiet "^$id " "$STATE/deployed"; then continue; fi
        if [[ -n $(docker ps --all --quiet --filter "ancestor=$id") ]]; then continue; fi
        docker rmi --force "$id" >/dev/null && say "removed image ${id:0:19}" || true
    done
}

deploy() {
    pull "$1" || fail "$1 cannot be pulled"
    local id
    id=$(id_of "$1") || fail "$1 is not here after the pull"
    let_serve "$1" "$id" deploy
    prune
}

rollback() {
    local image=${1:-} id
    if [[ -z $image ]]; then
        read -r id image < <(tail -n 2 "$STATE/deployed" | head -n -1) || fail "nothing was deployed before"
    fi
    if ! id=$(id_of "${id:-$image}"); then
        pull "$image" || fail "$image is not here, and cannot be pulled"
        id=$(id_of "$image")
    fi
    let_serve "$image" "$id" rollback
}

# Do not undo a manual rollback.
revoke() {
    if [[ $(tail -n 1 "$STATE/deployed") != *" $1" ]]; then say "$1 serves no more; nothing to do"; return; fi
    rollback
}

status() {
    local port
    port=$(live_port)
    echo "serves: ${port:+slipway-}${port:-nothing}"
    docker ps --all --filter label=slipway.image \
        --format 'table {{.Names}}\t{{.Status}}\t{{.Label "slipway.image"}}\t{{.Label "slipway.revision"}}'
    echo "deployed, the present one last:"
    sed 's/^/  /' "$STATE/deployed" 2>/dev/null || echo "  nothing"
    df -h --output=pcent,avail,target "$STATE" | sed 's/^/  /'
    PREFIX=$(setting SCRIPT_NAME)
    curl --silent --show-error --max-time 5 "http://127.0.0.1:$FRONT$PREFIX/readyz" --fail-with-body && echo
}

case "${1:-} $#" in
    "deploy 2") lock; deploy "$2" ;;
    "rollback 1" | "rollback 2") lock; rollback "${2:-}" ;;
    "revoke 2") lock; revoke "$2" ;;
    "status 1") status ;;
    logs\ *) docker logs "${@:2}" "slipway-$(live_port)" ;;
    *) sed -n '3,8s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
