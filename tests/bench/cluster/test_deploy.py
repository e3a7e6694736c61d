"""The files that start clusters: valid by the schemas of their readers, closed to the outside, with the tests' versions."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from bench.on_ray.slots import MAX_WORKERS, WORKER_CPUS, WORKER_GPUS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "bench/deploy"


def pinned(path: Path) -> dict[str, str]:
    """Return the versions in a requirements file, by package."""
    return dict(line.split("==") for line in path.read_text().splitlines() if "==" in line)


def launcher(cloud: str) -> dict[str, Any]:
    """Return cluster.yaml as the launcher reads it, converted for a cloud by the command in its header."""
    text = (ROOT / "cluster.yaml").read_text()
    if cloud == "gcp":
        (line,) = re.findall(r"(sed -e .* cluster.yaml) >", text)
        text = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return prepare_config(yaml.safe_load(text))


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_launchers_file_is_valid_by_rays_schema_and_closed_to_the_outside(cloud: str):
    config = launcher(cloud)
    validate_config(config)
    assert config["provider"]["type"] == cloud
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    assert config["head_node_type"] == "head"
    assert (gpu["min_workers"], gpu["resources"]["GPU"]) == (0, 1)
    of_one = {WORKER_CPUS: gpu["resources"]["CPU"], WORKER_GPUS: gpu["resources"]["GPU"]}
    assert head["resources"] == {"CPU": 0, MAX_WORKERS: config["max_workers"], **of_one}
    assert config["max_workers"] == gpu["max_workers"]
    assert "spot" in json.dumps(gpu["node_config"]).lower()
    assert "spot" not in json.dumps(head["node_config"]).lower()

    assert config["provider"]["use_internal_ips"]
    assert config["auth"]["ssh_proxy_command"]
    assert config["auth"]["ssh_proxy_use_node_id"]
    for kind in (head, gpu):
        if cloud == "aws":
            assert not kind["node_config"]["NetworkInterfaces"][0]["AssociatePublicIpAddress"]
        else:
            assert misfits(kind["node_config"], INSTANCE) == []
            assert "accessConfigs" not in kind["node_config"]["networkInterfaces"][0]  # a public address
    starts = [line for kind in ("head", "worker") for line in config[f"{kind}_start_ray_commands"] if "ray start" in line]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


#: The fields of Google's published Instance (compute v1) that we use, and their types.
INSTANCE = {
    "machineType": str, "networkInterfaces": [{"subnetwork": str}], "serviceAccounts": [{"email": str, "scopes": [str]}],
    "disks": [{"boot": bool, "autoDelete": bool, "type": str, "initializeParams": {"diskSizeGb": int, "sourceImage": str}}],
    "scheduling": {"provisioningModel": str, "instanceTerminationAction": str, "onHostMaintenance": str},
}  # fmt: skip

#: The fields of the published RayJob (ray.io/v1) that we use, and their types.
CONTAINER = {
    "name": str, "image": str, "env": [{"name": str, "value": str}],
    "resources": {"requests": {...: str}, "limits": {...: str}},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}  # fmt: skip
POD = {"spec": {
    "serviceAccountName": str, "automountServiceAccountToken": bool, "containers": [CONTAINER], "nodeSelector": {...: str},
    "terminationGracePeriodSeconds": int,
    "tolerations": [{"key": str, "operator": str, "effect": str}], "volumes": [{"name": str, "configMap": {"name": str}}],
}}  # fmt: skip
RAY_JOB = {
    "apiVersion": str, "kind": str, "metadata": {"name": str},
    "spec": {
        "entrypoint": str, "backoffLimit": int, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "rayVersion": str, "authOptions": {"mode": str}, "enableInTreeAutoscaling": bool,
            "autoscalerOptions": {"idleTimeoutSeconds": int},
            "headGroupSpec": {"serviceType": str, "rayStartParams": {...: str}, "template": POD},
            "workerGroupSpecs": [{
                "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "rayStartParams": {...: str},
                "template": POD,
            }],
        },
    },
}  # fmt: skip


def misfits(value: Any, published: Any, path: str = "") -> list[str]:
    """Return the paths of fields that are not published, or have another type."""
    if isinstance(published, dict) and isinstance(value, dict):
        parts = [(each, published.get(key, published.get(...)), f"{path}.{key}") for key, each in value.items()]
    elif isinstance(published, list) and isinstance(value, list):
        parts = [(each, published[0], f"{path}[]") for each in value]
    else:
        return [] if type(value) is published else [path]
    return [misfit for part in parts for misfit in misfits(*part)]


def test_the_kubernetes_manifest_has_only_published_fields_and_requires_a_token():
    (name,) = re.findall(r"`kubectl apply --filename (\S+)`", (DEPLOY / "README.md").read_text())
    job = yaml.safe_load((DEPLOY / name).read_text())
    assert misfits(job, RAY_JOB) == []
    assert misfits({**job, "spec": {**job["spec"], "backoffLimit": "2", "rayCluster": {}}}, RAY_JOB) == [
        ".spec.backoffLimit", ".spec.rayCluster"
    ]  # fmt: skip
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    (workers,) = cluster["workerGroupSpecs"]
    parameters = cluster["headGroupSpec"]["rayStartParams"]
    (container,) = workers["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    of_one = {WORKER_CPUS: int(limits["cpu"]), WORKER_GPUS: int(limits["nvidia.com/gpu"])}
    assert json.loads(json.loads(parameters["resources"])) == {MAX_WORKERS: workers["maxReplicas"], **of_one}
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    drained = int(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert 0 < drained < workers["template"]["spec"]["terminationGracePeriodSeconds"]
    assert (parameters["num-cpus"], workers["minReplicas"], workers["replicas"]) == ("0", 0, 0)


#: Imitates Slurm, Ray and the driver for slurm.sh. The driver sends the script a signal, as Slurm does before the time limit.
TOOL = """#!/bin/bash
echo "${0##*/} $*" >> calls
case ${0##*/} in
    scontrol) printf '%s\n' localhost 127.0.0.1 ;;
    srun) while [[ $1 == --* ]]; do shift; done; exec "$@" ;;
    ray) [[ $* != *--head* || ! -e broken ]] || exit 1
         [[ $1 == health-check ]] && exec test -e up
         cat "$RAY_AUTH_TOKEN_PATH" > up
         exec sleep infinity ;;
    transfergan) until [[ $(grep -c "^ray start" calls) == 2 ]]; do sleep 0.01; done
         exec python -c '
import os, pathlib, signal
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
try:
    os.kill(os.getppid(), signal.Signals[os.environ["SENT"]])
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path("recorded").touch()
    raise SystemExit(130)' ;;
esac
"""


def slurm(folder: Path, sent: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    """Run slurm.sh as Slurm does on the first machine of a job, until it and all its processes end."""
    (folder / "bin").mkdir()
    for name in ("scontrol", "srun", "ray", "transfergan"):
        (folder / "bin" / name).write_text(TOOL)
        (folder / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "any", "SLURM_CPUS_PER_TASK": "8", "SENT": sent,
    }  # fmt: skip
    (line,) = re.findall(r"`sbatch (.*?)`", (DEPLOY / "README.md").read_text())
    script, *arguments = line.split()
    return subprocess.run(
        ["bash", DEPLOY / script, *arguments],
        cwd=folder, env=environment, umask=0o022, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])  # before the time limit, and at a preemption
def test_the_slurm_script_starts_ray_everywhere_and_lets_an_interrupted_driver_record(tmp_path: Path, sent: str):
    done = slurm(tmp_path, sent)
    assert done.returncode == 130, done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    starts = [re.sub(r" ray start.*? --num-cpus=8", "", call) for call in calls if call.startswith("srun --overlap")]
    step = "srun --overlap --nodes=1 --ntasks=1 --nodelist="
    assert starts == [
        f"{step}localhost --head --node-ip-address=127.0.0.1 --port=20007 --include-dashboard=false --temp-dir=/tmp/ray-7",
        f"{step}127.0.0.1 --address=127.0.0.1:20007",
    ]
    assert "srun --nodes=1 --ntasks=1 --nodelist=127.0.0.1 getent ahostsv4 localhost" in calls  # not on the machine itself
    assert "transfergan run sweep.yaml --store store --address 127.0.0.1:20007" in calls
    assert re.fullmatch(r"[0-9a-f]{64}", (tmp_path / "up").read_text())
    assert (tmp_path / "recorded").stat().st_mode & 0o777 == 0o644
    assert not list(tmp_path.glob(".transfergan*"))


def test_the_slurm_script_ends_if_ray_does_not_start(tmp_path: Path):
    (tmp_path / "broken").touch()
    done = slurm(tmp_path)
    assert done.returncode == 1
    assert "Ray does not start on localhost" in done.stdout
    assert "transfergan" not in (tmp_path / "calls").read_text()
    assert not list(tmp_path.glob(".transfergan*"))


def test_all_versions_are_those_of_the_tests():
    versions = pinned(ROOT / "constraints.txt")
    files = [ROOT / "cluster.yaml", *(path for path in DEPLOY.iterdir() if path.is_file())]
    text = "\n".join(path.read_text() for path in files)
    images = re.findall(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-", text)
    assert len(images) == 3
    needs = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    for ray, major, minor in images:
        assert ray == versions["ray"]
        assert f"{major}.{minor}" in needs
    assert yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]["rayVersion"] == versions["ray"]
    clients = dict(re.findall(r"(boto3|google-api-python-client)==([\d.]+)", text))
    assert clients["boto3"] == pinned(ROOT / "tests/support/s3-server.txt")["boto3"]
    assert all(text.count(f"{name}=={version}") == text.count(name) == 2 for name, version in clients.items())
    # Without constraints: their python-dateutil is too new for boto3, and pip would choose a boto3 of 2015.
    installs = re.findall(r"pip install .*", text)
    assert sorted(line.split()[-1] for line in installs if "constraints.txt" in line) == [".", ".", "~/transfergan"]
    assert not any("constraint" in line for line in installs if any(name in line for name in clients))
