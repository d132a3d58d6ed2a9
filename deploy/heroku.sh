#!/usr/bin/env bash
# Deploy the checked-out commit to Heroku, check the release from outside, and roll back if the check
# fails:
#
#   deploy/heroku.sh                 push, wait, run the smoke test; roll back if it fails
#   deploy/heroku.sh rollback [vN]   roll back to release N, by default to the previous code
#
# Environment: HEROKU_API_KEY, HEROKU_APP_NAME, HEROKU_EMAIL. The script does not need Heroku's CLI.
# docs/heroku-automate.md explains it.
set -euo pipefail
# With -x, the log would contain the key.
set +x

GIT_URL=${HEROKU_GIT_URL:-https://git.heroku.com}
API_URL=${HEROKU_API_URL:-https://api.heroku.com}
RELEASE_SECONDS=${HEROKU_RELEASE_SECONDS:-900}
BOOT_SECONDS=${HEROKU_BOOT_SECONDS:-120}
PAUSE=${HEROKU_PAUSE:-2}
APP=$API_URL/apps/${HEROKU_APP_NAME:-}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
    check_environment
    case "$#${1:-}${2:-}" in
    0) deploy ;;
    1rollback | 2rollbackv[0-9]*) rollback "${2:-earlier}" ;;
    *) fail "usage: deploy/heroku.sh [rollback [vN]]" ;;
    esac
}

deploy() {
    [ "$(git rev-parse --is-shallow-repository)" = false ] ||
        fail "this clone is shallow, which Heroku refuses: git fetch --unshallow, or fetch-depth: 0"
    local url before good after now
    url=$(address) || refused
    before=$(releases newest) || refused
    good=$(releases serving) || refused
    say "pushing $(git rev-parse --short HEAD) to $HEROKU_APP_NAME"
    push || fail "the push was refused, or the build failed; nothing was changed"
    after=$(releases newest) || refused
    if [ "$(name "$after")" = "$(name "$before")" ]; then
        say "Heroku has this commit already, and made no release of it"
        [ "$after" = "$good" ] || fail "and its release failed: push another, or heroku releases:retry"
        smoke "$url" || fail "release $(name "$good") is wrong; nothing was changed"
    elif ! released "$after"; then
        fail "release $(name "$after") failed, ${good:+$(name "$good") goes on serving, }see above, or: heroku releases:output"
    elif ! { booted "$after" && smoke "$url"; }; then
        say "release $(name "$after") is wrong"
        [ -n "$good" ] || fail "no earlier release exists to roll back to"
        # Do not undo a manual rollback.
        now=$(releases newest) || refused
        [ "$(name "$now")" = "$(name "$after")" ] || fail "release $(name "$now") was made meanwhile, and is left alone"
        go_back "$good" "$url"
        fail "release $(name "$after") was wrong; the code of $(name "$good") serves again"
    fi
    say "release $(name "$after") serves"
}

rollback() {
    local url target
    url=$(address) || refused
    target=$(releases "$1") || refused
    [ -n "$target" ] || fail "cannot roll back: no such release: $1"
    go_back "$target" "$url"
    say "the code of $(name "$target") serves again"
}

# Make a release with the code and the config vars of an earlier one.
go_back() {
    local made
    say "going back to $(name "$1")"
    made=$(api --data "{\"release\": \"${1##* }\"}" "$APP/releases" | answer made) || refused
    { released "$made" && booted "$made" && smoke "$2"; } ||
        fail "going back to $(name "$1") failed: heroku releases, heroku logs"
}

# Pass the key with a credential helper, so that it is in no command line, file or log.
push() {
    # shellcheck disable=SC2016
    local helper='!f() { test "$1" = get && printf "username=%s\npassword=%s\n" "$HEROKU_EMAIL" "$HEROKU_API_KEY"; }; f'
    env -u GIT_TRACE -u GIT_TRACE_CURL -u GIT_CURL_VERBOSE -u GIT_TRACE_PACKET GIT_TERMINAL_PROMPT=0 \
        git -c credential.helper= -c "credential.helper=$helper" \
        push "$GIT_URL/$HEROKU_APP_NAME.git" HEAD:refs/heads/main
}

# A push exits with 0 even if the release command fails, so read the release's status.
released() {
    local until=$((SECONDS + RELEASE_SECONDS)) now
    while [ "$SECONDS" -lt "$until" ]; do
        now=$(releases "$(name "$1")") || now=unknown
        case "$now" in
        *" succeeded "*) return 0 ;;
        *" failed "* | *" expired "*) return 1 ;;
        esac
        sleep "$PAUSE"
    done
    fail "release $(name "$1") is not ready after $RELEASE_SECONDS s"
}

# The dynos of the previous release may still serve for a while.
booted() {
    local until=$((SECONDS + BOOT_SECONDS)) state=none
    while [ "$SECONDS" -lt "$until" ]; do
        state=$(api --retry 3 "$APP/dynos" | answer dynos "$(name "$1")") || state=unknown
        case "$state" in
        up) return 0 ;;
        crashed) break ;;
        esac
        sleep "$PAUSE"
    done
    [ "$state" != none ] || fail "no web dyno is running: heroku ps:scale web=1"
    say "the web dynos of $(name "$1") are $state: heroku logs"
    return 1
}

smoke() {
    python3 -P "$HERE/../slipway/monitoring/smoke.py" "$1" --wait "$BOOT_SECONDS"
}

address() {
    api --retry 3 "$APP" | answer url
}

# Print name, status and id of a release (newest, serving, earlier or vN), or nothing.
releases() {
    api --retry 3 --header "Range: version ..; order=desc,max=200" "$APP/releases" |
        answer release "$1"
}

answer() {
    python3 -P "$HERE/heroku_answers.py" "$@"
}

name() {
    echo "${1%% *}"
}

api() {
    curl --silent --show-error --fail --max-time 60 --config - "$@" <<END
header = "Authorization: Bearer $HEROKU_API_KEY"
header = "Accept: application/vnd.heroku+json; version=3"
header = "Content-Type: application/json"
END
}

refused() {
    fail "Heroku's API does not answer as it should; are HEROKU_API_KEY and HEROKU_APP_NAME right?"
}

check_environment() {
    local name
    for name in HEROKU_API_KEY HEROKU_APP_NAME HEROKU_EMAIL; do
        [ -n "${!name:-}" ] || fail "$name is not set"
    done
    [[ $HEROKU_API_KEY =~ ^[A-Za-z0-9_-]+$ ]] || fail "HEROKU_API_KEY is not a valid key"
    [[ $HEROKU_APP_NAME =~ ^[a-z][a-z0-9-]+$ ]] || fail "HEROKU_APP_NAME is not a valid app name"
    [[ $HEROKU_EMAIL =~ ^[^[:space:]]+@[^[:space:]]+$ ]] || fail "HEROKU_EMAIL is not a valid address"
    export HEROKU_API_KEY HEROKU_EMAIL
}

say() {
    echo "heroku: $*"
}

fail() {
    echo "heroku: $*" >&2
    exit 1
}

main "$@"
