#!/usr/bin/env bash
# Print what a push to main deploys with the present variables and secrets, and which are missing. The
# table goes to the terminal and to the summary of the workflow's run. The script exits with 1 only if
# a deployment is configured but cannot work, so that a fork without variables stays green.
set -euo pipefail

main() {
    local missing
    missing=$(for_aws)
    if [[ ${DEPLOY_TO_AWS:-} != true ]]; then
        tell "AWS" "no" "the variable DEPLOY_TO_AWS is not \`true\`"
    elif [[ -n $missing ]]; then
        tell "AWS" "**it cannot work**" "missing: $missing"
    else
        tell "AWS" "yes" "by $(credentials), $(machine)$(address)"
    fi
    if [[ ${DEPLOY_TO_HEROKU:-} == true ]]; then
        tell "Heroku" "yes" "deploy/heroku.sh says what is missing, if anything is"
    else
        tell "Heroku" "no" "the variable DEPLOY_TO_HEROKU is not \`true\`"
    fi
    summary
    if [[ ${DEPLOY_TO_AWS:-} == true && -n $missing ]]; then
        echo "::error::DEPLOY_TO_AWS is true, but this is missing: $missing. docs/github-deploy.md lists where to find each."
        exit 1
    fi
}

for_aws() {
    local name told missing=()
    for name in AWS_REGION AWS_ECR_LOGIN_URI ECR_REPOSITORY_NAME; do
        if [[ -z ${!name:-} ]]; then missing+=("$name"); fi
    done
    if [[ -z ${AWS_ROLE_ARN:-} && ${AWS_KEYS:-} != true ]]; then missing+=("AWS_ROLE_ARN"); fi
    # A separate role lets AWS run the deployment on the machine; keys cannot.
    if [[ -n ${BOX_ID:-} && -z ${AWS_DEPLOY_ROLE_ARN:-} ]]; then missing+=("AWS_DEPLOY_ROLE_ARN"); fi
    printf -v told '%s, ' "${missing[@]}"
    echo "${told%, }"
}

credentials() {
    if [[ -n ${AWS_ROLE_ARN:-} ]]; then echo "a role"; else echo "an IAM user's keys (legacy)"; fi
}

machine() {
    if [[ -n ${BOX_ID:-} ]]; then echo "without a runner, on $BOX_ID"; else echo "on the self-hosted runner"; fi
}

address() {
    if [[ -z ${SERVICE_URL:-} ]]; then echo "; without SERVICE_URL it is not asked by its public address"; fi
}

ROWS=()
tell() { ROWS+=("| $1 | $2 | $3 |"); }

summary() {
    {
        echo "### What this push deploys"
        printf '\n| to | deployed | why |\n|---|---|---|\n'
        printf '%s\n' "${ROWS[@]}"
    } | tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}"
}

main
