#!/bin/bash
# Starts the runner, as launch scripts of the usual kind do; @CONFIG@ is GitHub's JIT configuration.
echo "bench: agent" > /dev/ttyS0
cd /opt/actions-runner
umask 077
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/dynamic/instance-identity/document | jq -r .instanceId > /dev/ttyS0
for name in .runner .credentials .credentials_rsaparams; do
  base64 -d <<< '@CONFIG@' | jq -r --arg name "$name" '.[$name]' | base64 -d > "$name"
  chown runner:runner "$name"
done
sudo -u runner bin/Runner.Listener run 2>&1 | sed -u 's/^/bench: runner: /' > /dev/ttyS0
