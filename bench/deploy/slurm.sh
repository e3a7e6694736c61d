#!/bin/bash
# A sweep on a Slurm cluster: sbatch slurm.sh SPEC STORE, in a folder that all machines share, with the environment of transfergan
# active. STORE is another shared folder, or s3://... The same command continues an earlier one.
#SBATCH --job-name=transfergan
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@300
#SBATCH --requeue
set -euo pipefail
spec=$1 store=$2

# Other users share these machines: use a token for this job, readable by its owner only, and no dashboard.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/.transfergan-$SLURM_JOB_ID.token
export RAY_USAGE_STATS_ENABLED=0 MALLOC_ARENA_MAX=1 GRPC_ENABLE_FORK_SUPPORT=0
export RAY_idle_worker_killing_time_threshold_ms=60000  # else a task often imports PyTorch again
(umask 077; python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -pr) 2> /dev/null || true' EXIT

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# Resolved on another machine: many machines resolve their own name to the loopback address.
ip=$(srun --nodes=1 --ntasks=1 --nodelist="${hosts[-1]}" getent ahostsv4 "${hosts[0]}")
address=${ip%% *}:$((20000 + SLURM_JOB_ID % 10000))
on() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" "${@:2}" & }

on "${hosts[0]}" --head --node-ip-address="${address%:*}" --port="${address#*:}" --include-dashboard=false \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID"
head=$!
until ray health-check --address "$address" 2> /dev/null; do
    kill -0 "$head" 2> /dev/null || { echo "Ray does not start on ${hosts[0]}, see the messages above" >&2; exit 1; }
    sleep 1
done
for host in "${hosts[@]:1}"; do on "$host" --address="$address"; done

# Slurm sends SIGINT to this shell five minutes before the time limit (and before a preemption, with send_user_signal among its
# PreemptParameters); else SIGTERM at a preemption. The trials then write checkpoints, and the driver ends. Background processes
# of a script ignore SIGINT; `trap -` restores it for the driver.
trap 'kill -INT "$!"' INT TERM
(trap - INT TERM; exec transfergan run "$spec" --store "$store" --address "$address") &
driver=$!
status=0
wait "$driver" || status=$?
while kill -0 "$driver" 2> /dev/null; do wait "$driver" || status=$?; done  # after SIGINT it still writes
exit "$status"
