"""The files that start clusters: right by the schemas of those who read them, closed to the outside, in the tests' versions."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from bench.on_ray import MAX_WORKERS

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "bench/deploy"


def pinned(path: Path) -> dict[str, str]:
    """Return the versions in a requirements file, by package."""
    return dict(line.split("==") for line in path.read_text().splitlines() if "==" in line)


def launcher(cloud: str) -> dict[str, Any]:
    """Return what the cluster launcher makes of cluster.yaml, for one of its clouds, as the file's head says how."""
    text = (ROOT / "cluster.yaml").read_text()
    if cloud == "gcp":
        (script,) = re.findall(r"(sed -e .*) cluster.yaml >", text)
        text = subprocess.run(f"{script} cluster.yaml", shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return prepare_config(yaml.safe_load(text))


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_launchers_file_is_right_by_rays_own_schema_and_closed_to_the_outside(cloud: str):
    config = launcher(cloud)
    validate_config(config)
    assert config["provider"]["type"] == cloud
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    assert config["head_node_type"] == "head"
    assert (gpu["min_workers"], gpu["resources"]["GPU"]) == (0, 1)
    assert head["resources"] == {"CPU": 0, MAX_WORKERS: config["max_workers"]}
    assert config["max_workers"] == gpu["max_workers"]
    assert "spot" in json.dumps(gpu["node_config"]).lower()
    assert "spot" not in json.dumps(head["node_config"]).lower()

    assert config["provider"]["use_internal_ips"]
    assert config["auth"]["ssh_proxy_command"]
    for kind in (head, gpu):
        assert kind["node_config"]["SecurityGroupIds" if cloud == "aws" else "networkInterfaces"]
        assert "accessConfigs" not in json.dumps(kind)  # what gives a machine of Google's a public address
    starts = [line for kind in ("head", "worker") for line in config[f"{kind}_start_ray_commands"] if "ray start" in line]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


#: The fields of the published RayJob (ray.io/v1) that we use, and their types.
CONTAINER = {
    "name": str, "image": str, "env": [{"name": str, "value": str}],
    "resources": {"requests": {...: str}, "limits": {...: str}},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}  # fmt: skip
POD = {"spec": {
    "serviceAccountName": str, "automountServiceAccountToken": bool, "containers": [CONTAINER], "nodeSelector": {...: str},
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
    """Return the paths of what is not among the published fields, or is of another type."""
    if isinstance(published, dict) and isinstance(value, dict):
        parts = [(each, published.get(key, published.get(...)), f"{path}.{key}") for key, each in value.items()]
    elif isinstance(published, list) and isinstance(value, list):
        parts = [(each, published[0], f"{path}[]") for each in value]
    else:
        return [] if type(value) is published else [path]
    return [found for part in parts for found in misfits(*part)]


def test_the_kubernetes_manifest_has_published_fields_only_and_asks_for_a_token():
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
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
    assert json.loads(json.loads(parameters["resources"])) == {MAX_WORKERS: workers["maxReplicas"]}
    assert (parameters["num-cpus"], workers["minReplicas"], workers["replicas"]) == ("0", 0, 0)


def test_the_slurm_script_is_a_script():
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    assert "--include-dashboard=false" in script.read_text()


def test_no_version_drifts_from_those_that_the_tests_pass_with():
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
    assert f"boto3=={pinned(ROOT / 'tests/s3-server.txt')['boto3']} " in text
    installs = re.findall(r"pip install .*", text)
    assert sum("--constraint" in line and "constraints.txt" in line for line in installs) == 3
