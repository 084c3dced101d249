#!/usr/bin/env bash
# Makes the GitHub App from github-app.json and puts its secrets where the controller reads them, so that nobody handles them:
#   github-app.sh page NAME [ORGANISATION] > app.html   open it in a browser and press the button; GitHub then leads to an
#                                                       address that ends in ?code=CODE
#   github-app.sh keep CODE                             within the hour: key and webhook secret go to SSM, the App's number is printed
# Needs jq, and for "keep" curl and the AWS CLI. GITHUB_API and GITHUB_WEB name an Enterprise Server's addresses.
# https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
set -euo pipefail
cd "$(dirname "$0")"
web=${GITHUB_WEB:-https://github.com} api=${GITHUB_API:-https://api.github.com}

case ${1-} in
  page)
    name=${2:?the name of the App, which nobody else on GitHub has taken} organisation=${3-}
    jq -r --arg name "$name" --arg to "$web/${organisation:+organizations/$organisation/}settings/apps/new" \
      '.name = $name | "<!doctype html><title>\($name)</title><form method=\"post\" action=\"\($to | @html)\"><input type=\"hidden\" name=\"manifest\" value=\"\(tojson | @html)\"><button>Create the App \($name | @html) on GitHub</button></form>"' \
      github-app.json
    ;;
  keep)
    code=${2:?the code at the end of the address that GitHub led to}
    [[ $code =~ ^[A-Za-z0-9_-]+$ ]] || { echo "'$code' is not a code: give what stands behind ?code= in the address" >&2; exit 64; }
    # The answer holds both secrets: it goes through pipes and this shell's memory, never through arguments or the disk.
    answer=$(curl --fail --silent --show-error --data '' --header 'Accept: application/vnd.github+json' "$api/app-manifests/$code/conversions")
    put() {
      printf '%s' "$answer" | jq -j ".$2" | aws ssm put-parameter ${AWS_REGION:+--region "$AWS_REGION"} --name "/mayfly/controller/$1" --type SecureString --overwrite --value file:///dev/stdin > /dev/null
    }
    put app-key pem
    put webhook-secret webhook_secret
    printf '%s' "$answer" | jq -r '"App \(.id), \(.html_url)\nkept in SSM: /mayfly/controller/app-key, /mayfly/controller/webhook-secret\nnow install it: \(.html_url)/installations/new"'
    ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$(basename "$0")" >&2
    exit 64
    ;;
esac
