#!/bin/bash
# Entry of the Postgres container: the superuser's password comes from a file, and only the start that makes the data folder gets it.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  POSTGRES_PASSWORD=$(cat /run/secrets/postgres-password)
  export POSTGRES_PASSWORD
fi
exec docker-entrypoint.sh "$@"
