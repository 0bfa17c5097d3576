#!/usr/bin/env bash
# go.sh STUDY OUT [options]: begins the study, or goes on with it where OUT holds it already.
# A job that a queue starts again after a lost machine calls this and nothing else.
set -euo pipefail
study=$1
out=$2
shift 2
program=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/run_search.py
if [ -e "$out/study.json" ]; then
  exec "${PYTHON:-python}" "$program" resume "$out" "$@"
fi
exec "${PYTHON:-python}" "$program" run "$study" --out "$out" "$@"
