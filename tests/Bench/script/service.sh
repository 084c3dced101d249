#!/bin/bash
# What the agent does as a service, done by the usual programs from a shell script: the peer to compare with. On the same
# machine and network; curl, jq and the AWS CLI are this computer's, the rest is the image's.
# Arguments: the AWS CLI and the machine's PID 1. Prints when it began.
set -eu
echo "$EPOCHREALTIME"
aws=$1
inside=(nsenter "--target=$2" --mount --pid --uts --)
metadata=http://169.254.169.254/latest

# 5. Learn who I am.
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$metadata/api/token")
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" "$metadata/$1"; }
document=$(get dynamic/instance-identity/document)
instance=$(jq -r .instanceId <<< "$document")
region=$(jq -r .region <<< "$document")
declare -A tags
for key in $(get meta-data/tags/instance); do tags[$key]=$(get "meta-data/tags/instance/$key"); done

# 6. Take the configuration, delete it at its source and see that it is gone.
name=/mayfly/config/$instance
envelope=$("$aws" ssm get-parameter --region "$region" --name "$name" --with-decryption --output json | jq -r .Parameter.Value)
"$aws" ssm delete-parameter --region "$region" --name "$name"
if left=$("$aws" ssm get-parameter --region "$region" --name "$name" 2>&1); then echo "$name is still there" >&2; exit 1; fi
# Of a parameter that is gone no tag is left that would let the role see even that.
case $left in *ParameterNotFound* | *AccessDenied*) ;; *) echo "$left" >&2; exit 1 ;; esac

# 7. Close the door.
"${inside[@]}" /usr/sbin/nft -f - <<< 'table inet script { chain output { type filter hook output priority 0; meta skuid 1001 ip daddr 169.254.169.254 reject; }; }'

# 8. Start the runner: peers give it its configuration as an argument.
"${inside[@]}" /usr/bin/sudo -u runner /opt/actions-runner/bin/Runner.Listener run --jitconfig "$envelope" < /dev/null > /dev/null
