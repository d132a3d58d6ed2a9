#!/usr/bin/env bash
# Say what a push to main deploys, as the repository's variables and secrets are set, and what is
# missing for it: to the summary of the workflow's run, or to the terminal. It ends with 1 only where
# a deployment is wanted and cannot work, so that a fork with nothing set stays green.
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
        echo "::error::DEPLOY_TO_AWS is true, but this is missing: $missing. docs/github.md says where each is found."
        exit 1
    fi
}

for_aws() {
    local name told missing=()
    for name in AWS_REGION AWS_ECR_LOGIN_URI ECR_REPOSITORY_NAME; do
        if [[ -z ${!name:-} ]]; then missing+=("$name"); fi
    done
    if [[ -z ${AWS_ROLE_ARN:-} && ${AWS_KEYS:-} != true ]]; then missing+=("AWS_ROLE_ARN"); fi
    # AWS is asked to run the deployment on the machine by a role of its own, never by keys.
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
