#!/usr/bin/env bash
# Run deploy/box.sh on the AWS machine with Run Command, without a runner, SSH or an open port.
#
#   deploy/aws/remote.sh BOX deploy IMAGE     BOX is the stack's output BoxId, i-…
#   deploy/aws/remote.sh BOX rollback [IMAGE]
#   deploy/aws/remote.sh BOX revoke IMAGE
#   deploy/aws/remote.sh BOX status|logs
#
# The credentials are your own, or those of GitHub's role for deployments in a stack with
# RunCommand=true. The script prints the output of the box, and exits with its status.
set -euo pipefail

if (($# < 2)); then sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; fi
BOX=$1
shift
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SECONDS_AT_MOST=1800

# The words go unquoted into JSON and into a remote shell.
for word in "$@"; do
    if [[ ! $word =~ ^[A-Za-z0-9._:/@=-]+$ ]]; then echo "what is $word?" >&2; exit 2; fi
done

# Send the scripts of this commit, so that the box needs no copy of the repository.
parameters() {
    local files place=/home/runner/by-run-command
    files=$(tar --create --gzip --directory "$ROOT" deploy/box.sh slipway/monitoring/smoke.py | base64 --wrap 0)
    printf '{"executionTimeout": ["%s"], "commands": ["set -e", "cd /"' "$SECONDS_AT_MOST"
    printf ', "%s"' "install --directory --owner runner --group runner $place" \
        "echo $files | base64 --decode | tar --extract --gzip --directory $place --no-same-owner" \
        "exec runuser --user runner -- env HOME=/home/runner $place/deploy/box.sh $*"
    printf ']}'
}

ask() {
    aws ssm get-command-invocation --command-id "$ID" --instance-id "$BOX" --query "$1" --output text
}

ID=$(aws ssm send-command --document-name AWS-RunShellScript --instance-ids "$BOX" \
    --comment "deploy/box.sh $1" --parameters "$(parameters "$@")" --query Command.CommandId --output text)
until ((SECONDS > SECONDS_AT_MOST)); do
    sleep 2
    # Just after the command, AWS does not know its ID yet.
    read -r state status < <(ask '[Status, ResponseCode]' 2>/dev/null) || continue
    case $state in
        Pending | InProgress | Delayed | Cancelling) continue ;;
    esac
    ask StandardOutputContent
    ask StandardErrorContent >&2
    # A command that never ran has the status -1.
    exit $((status < 0 ? 1 : status))
done
echo "no answer by $BOX after $SECONDS_AT_MOST s" >&2
exit 1
