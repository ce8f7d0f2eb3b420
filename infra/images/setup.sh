#!/bin/sh
# Makes a workspace and the Prefect server ready for the workers; again: brings them up to date.
# A params.yaml that is there stays as it is.
set -eu
code=$(dirname "$0")
cd "$LODE_WORKSPACE"
if [ ! -e params.yaml ]; then
    sed "s|^  tracking_uri: .*|  tracking_uri: $MLFLOW_TRACKING_URI|" "$code/params.yaml" > .params.tmp
    mv .params.tmp params.yaml
fi
exec python -m flows.deploy --prefect-file "$code/prefect.yaml"
