#!/bin/bash
# The runner shows this as "Complete runner". The marks are there once the agent has taken them for the first time.
[[ ! -e /run/mayfly/high-water ]] || cat /run/mayfly/high-water
exec /usr/lib/mayfly/hooks/run-hooks /etc/mayfly/hooks/job-completed.d
