#!/bin/bash
# A sweep on machines of a Slurm cluster: sbatch slurm.sh SPEC STORE, in a folder that all of them see, with the environment that
# has transfergan active. STORE is another such folder, or s3://... The same command goes on where the last one has ended.
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

# Other people work on these machines: a token of this job's own, which only its owner reads, and no dashboard at all.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/.transfergan-$SLURM_JOB_ID.token
export RAY_USAGE_STATS_ENABLED=0 MALLOC_ARENA_MAX=1
(umask 077; python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -pr) 2> /dev/null || true' EXIT

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# As another one knows it: on many machines their own name leads to the loopback.
ip=$(srun --nodes=1 --ntasks=1 --nodelist="${hosts[-1]}" getent ahostsv4 "${hosts[0]}")
address=${ip%% *}:$((20000 + SLURM_JOB_ID % 10000))
on() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" "${@:2}" & }

on "${hosts[0]}" --head --node-ip-address="${address%:*}" --port="${address#*:}" --include-dashboard=false \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID"
head=$!
until ray health-check --address "$address" 2> /dev/null; do
    kill -0 "$head" 2> /dev/null || { echo "Ray does not start on ${hosts[0]}, see above" >&2; exit 1; }
    sleep 1
done
for host in "${hosts[@]:1}"; do on "$host" --address="$address"; done

# Slurm interrupts this shell before the time is up; the driver then records where each trial is, and ends. Without `trap -` it
# would ignore that, as a script's background processes do.
trap 'kill -INT "$!"' INT
(trap - INT; exec transfergan run "$spec" --store "$store" --address "$address") &
driver=$!
status=0
wait "$driver" || status=$?
while kill -0 "$driver" 2> /dev/null; do wait "$driver" || status=$?; done  # interrupted, it still has to write
exit "$status"
