#!/usr/bin/env bash
# Use the image registry ECR with the AWS command line.
#
#   deploy/ecr.sh login        log docker in
#   deploy/ecr.sh image SHA    print the full name of a commit's image
#   deploy/ecr.sh pushed SHA   print yes if the image is in the registry, otherwise no
#   deploy/ecr.sh scan SHA     wait for ECR's scan of the image; fail on a critical finding
#
# Environment: AWS_REGION, AWS_ECR_LOGIN_URI (the registry, without the repository's name),
# ECR_REPOSITORY_NAME.
set -euo pipefail

SCAN_SECONDS=${ECR_SCAN_SECONDS:-600}
PAUSE=${ECR_PAUSE:-5}

main() {
    case "${1:-} $#" in
    "login 1") check_environment && login ;;
    "image 2" | "pushed 2" | "scan 2")
        check_environment
        [[ $2 =~ ^[0-9a-f]{40}$ ]] || fail "a commit has 40 digits from 0 to f, not: ${2:0:60}"
        "$1" "$2"
        ;;
    *) sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
}

# Pass the password over standard input, so that no process list shows it.
login() {
    ecr get-login-password | docker login --username AWS --password-stdin "$AWS_ECR_LOGIN_URI"
}

image() {
    echo "$AWS_ECR_LOGIN_URI/$ECR_REPOSITORY_NAME:$1"
}

pushed() {
    local found
    found=$(ecr batch-get-image --repository-name "$ECR_REPOSITORY_NAME" \
        --image-ids "imageTag=$1" --query 'length(images)' --output text)
    if [[ $found == 0 ]]; then echo no; else echo yes; fi
}

# ECR scans at a push, if the repository is configured so. AWS's own waiter supports neither an image
# whose scan has not started, nor the status ACTIVE of enhanced scanning.
scan() {
    local until=$((SECONDS + SCAN_SECONDS)) status=
    while true; do
        status=$(findings "$1" imageScanStatus.status 2>&1) || true
        case "$status" in
        COMPLETE | ACTIVE) break ;;
        IN_PROGRESS | PENDING | *ScanNotFoundException*) ;;
        # Retry when ECR throttles the request.
        *Throttling* | *ServiceUnavailable* | *ServerException*) ;;
        *) fail "the image cannot be scanned: $status" ;;
        esac
        if ((SECONDS >= until)); then
            fail "no scan after $SCAN_SECONDS s (${status##*: }); does the repository scan on push?"
        fi
        sleep "$PAUSE"
    done
    judge "$1"
}

judge() {
    local critical counts
    counts=$(findings "$1" imageScanFindings.findingSeverityCounts json | tr -d '{}" \n')
    critical=$(findings "$1" "imageScanFindings.findingSeverityCounts.CRITICAL || \`0\`")
    echo "Image scan: ${counts:-nothing found}" | tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}"
    [[ $critical == 0 ]] || fail "$critical critical findings: see ECR, $ECR_REPOSITORY_NAME, the tag $1"
}

findings() {
    ecr describe-image-scan-findings --repository-name "$ECR_REPOSITORY_NAME" \
        --image-id "imageTag=$1" --query "$2" --no-paginate --output "${3:-text}"
}

ecr() {
    aws ecr "$@" --region "$AWS_REGION"
}

check_environment() {
    local name
    for name in AWS_REGION AWS_ECR_LOGIN_URI ECR_REPOSITORY_NAME; do
        [[ -n ${!name:-} ]] || fail "$name is not set: see docs/github-deploy.md"
    done
    [[ $AWS_ECR_LOGIN_URI != */* ]] ||
        fail "AWS_ECR_LOGIN_URI is the registry alone, as 123456789012.dkr.ecr.eu-central-1.amazonaws.com, without https:// and the repository's name"
}

fail() {
    echo "ecr: $*" >&2
    exit 1
}

main "$@"
