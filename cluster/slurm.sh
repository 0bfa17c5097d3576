#!/usr/bin/env bash
# sbatch cluster/slurm.sh STUDY OUT [options of run]
# One Ray node on every machine of the job, the driver on the first. Requeued or submitted again, it goes on.
#SBATCH --job-name=vision-ablation
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:INT@120
set -euo pipefail

project=${PROJECT:-$SLURM_SUBMIT_DIR} # the folder of run_search.py, with its .venv, on a path that all machines share
export PATH=$project/.venv/bin:$PATH

# Whoever reaches Ray's ports can run programs: only this job knows the token.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))
# Sockets lie below it, so its name is short; several jobs may share a machine.
node=(ray start --block --disable-usage-stats --temp-dir "/tmp/ray$SLURM_JOB_ID"
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_PER_TASK:-0}")

steps=()
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  "${node[@]}" --head --node-ip-address "$address" --port "$port" --include-dashboard false &
steps+=($!)
for _ in $(seq 120); do
  if (: <"/dev/tcp/$address/$port") 2>/dev/null; then break; fi
  sleep 1
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  workers=$((SLURM_JOB_NUM_NODES - 1))
  srun --overlap --nodes="$workers" --ntasks="$workers" --exclude="$head" "${node[@]}" --address "$address:$port" &
  steps+=($!)
  for _ in $(seq 180); do
    alive=$(python - "$address:$port" <<'PYTHON'
import sys

import ray

ray.init(address=sys.argv[1], logging_level="error", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
    )
    if [ "$alive" -ge "$SLURM_JOB_NUM_NODES" ]; then break; fi
    sleep 2
  done
fi

set -m # else bash starts it deaf to the interrupt
"$project/cluster/go.sh" "$@" --address "$address:$port" &
driver=$!
set +m
trap 'kill -INT "$driver"' INT TERM # two minutes before the time is up: everything is saved, the next job goes on
status=0
while kill -0 "$driver" 2>/dev/null; do wait "$driver" && status=0 || status=$?; done
kill "${steps[@]}" 2>/dev/null || true
wait
exit "$status"
