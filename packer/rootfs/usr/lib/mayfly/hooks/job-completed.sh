#!/bin/bash
# The runner shows this as "Complete runner". The marks are there once the agent has taken them for the first time.
if [[ -e /run/mayfly/high-water ]]; then
  echo 'High-water marks'
  cat /run/mayfly/high-water
fi
exec /usr/lib/mayfly/hooks/run-hooks /etc/mayfly/hooks/job-completed.d
