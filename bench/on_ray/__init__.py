"""The only package that imports Ray: adapters of the driver, the cluster, tasks and jobs."""

import gc
import os

# A process of Ray imports PyTorch and Tune. To search what stays for garbage after every 700 objects takes a tenth of that.
gc.set_threshold(10_000)

# Ray reads these when it is imported, and so do the processes that it starts.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray starts a process per core before any is needed. Tune sets variables for its trials, so they need other processes.
for _name in ("RAY_enable_worker_prestart", "RAY_prestart_worker_first_driver"):
    os.environ.setdefault(_name, "0")
# Ray ends an idle process after a second if there are more processes than cores; the next task would import PyTorch again.
os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its newer display talks even at verbose=0
# A reused process runs each trial in a new thread, and the thread's arena would keep the memory that the trial has freed.
os.environ.setdefault("MALLOC_ARENA_MAX", "1")
# Ray's client server forks for each client, and gRPC's fork handlers can make that fail (gRPC issue 43055).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Ray's record of the experiment, which is never read
