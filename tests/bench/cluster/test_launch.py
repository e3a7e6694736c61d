"""The guide's commands for AWS, line by line: pip, and Ray's own launcher and autoscaler on an EC2 that moto imitates.

`tests.support.remote` records the calls on the machines. test_jobs.py runs the lines of `transfergan`.
"""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S3_PYTHON
from tests.support import remote

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "bench/deploy/README.md").read_text()
(BLOCK,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for each in BLOCK.splitlines() if not (line := re.sub(r"\s+#.*", "", each)).startswith("transfergan ")]
BOTO3 = S3_PYTHON.parents[1] / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"

#: Runs the AWS commands in the page's text, creates what cluster.yaml has zeros for, and prints the names.
PREPARE = """
import json, sys
import boto3
from botocore import xform_name
for service, operation, *options in json.loads(sys.argv[1]):
    client = boto3.client(service)
    members = client.meta.service_model.operation_model(
        next(name for name in client.meta.service_model.operation_names if xform_name(name, "-") == operation)
    ).input_shape.members
    names = {f'--{xform_name(name, "-")}': name for name in members}
    given = {names[option]: value for option, value in zip(options[::2], options[1::2]) if option != "--region"}
    try:
        getattr(client, operation.replace("-", "_"))(**given)
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "ParameterNotFound", error  # only AWS knows its images
ec2 = boto3.client("ec2")
net = ec2.describe_subnets()["Subnets"][0]
assert net["MapPublicIpOnLaunch"]
group = ec2.create_security_group(GroupName="transfergan", Description="test", VpcId=net["VpcId"])["GroupId"]
for name in ("transfergan-head", "transfergan-worker"):
    boto3.client("iam").create_instance_profile(InstanceProfileName=name)
image = ec2.describe_images()["Images"][0]["ImageId"]
print(json.dumps({"ami": image, "subnet": net["SubnetId"], "sg": group}))
"""

#: Prints how EC2 describes the machines, with the sizes of their disks in GB.
DESCRIBE = """
import boto3, json
ec2 = boto3.client("ec2")
machines = [machine for each in ec2.describe_instances()["Reservations"] for machine in each["Instances"]]
sizes = {disk["VolumeId"]: disk["Size"] for disk in ec2.describe_volumes()["Volumes"]}
for machine in machines:
    machine["Disks"] = {disk["DeviceName"]: sizes.get(disk["Ebs"]["VolumeId"]) for disk in machine["BlockDeviceMappings"]}
print(json.dumps(machines, default=str))
"""

#: What the autoscaler does on the head when a trial waits for a GPU, with the file that the launcher sent there.
SCALE = """
from pathlib import Path
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter
from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller
from ray.core.generated.instance_manager_pb2 import Instance
reader = FileConfigReader(str(Path.home() / "ray_bootstrap_config.yaml"))
config = reader.get_cached_autoscaling_config()
provider = _get_node_provider(config.get_config("provider"), config.get_config("cluster_name"))
adapter = NodeProviderAdapter(provider, reader)
adapter._launch_nodes_by_type("gpu", 1, "a request")
(worker,) = (each for each in adapter.get_non_terminated().values() if each.node_type == "gpu")
installed = Instance(instance_id="1", instance_type="gpu", cloud_instance_id=worker.cloud_instance_id)
RayInstaller(provider, config).install_ray(installed, "10.0.0.9")
"""


@dataclass
class Launched:
    """The result of all commands.

    Attributes:
        folder: contains the user's home and the machines.
        made: the values that replace the zeros of cluster.yaml, by the prefix of the name.
        calls: calls of all tools.
        output: output of each line of the page.
        before: EC2's descriptions of the head and a gpu machine before the last line.
        after: the same, after the last line.
    """

    folder: Path
    made: dict[str, str]
    calls: list[remote.Call]
    output: dict[str, str]
    before: dict[str, Any]
    after: dict[str, Any]

    def on(self, kind: str, tool: str) -> list[remote.Call]:
        """Return the calls of a tool on one of the two machines."""
        addresses = self.before[kind]["InstanceId"], self.before[kind]["PrivateIpAddress"]
        return [call for call in self.calls if call.host in addresses and call.tool == tool]

    def here(self, tool: str) -> list[list[str]]:
        """Return the arguments of a tool's calls on the user's own machine."""
        return [call.arguments for call in self.calls if not call.host and call.tool == tool]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, s3_port: int) -> Launched:
    """The commands of the page, run in a copy of the project with an empty home, and a worker for one GPU."""
    folder = tmp_path_factory.mktemp("launch")
    project, home, machines, temporary = (folder / name for name in ("project", "home", "machines", "tmp"))
    for directory in (project, home, machines, temporary):
        directory.mkdir()
    for name in ("bench", "trainers", "analysis"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    environment = {
        "PATH": f"{remote.install(machines)}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home),
        "TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-west-2",
        "PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip

    def run(command: list[str | Path], answers: str = "", **variables: str) -> str:
        """Run a command in a terminal with typed answers; return its output."""
        keyboard, terminal = pty.openpty()
        os.write(keyboard, answers.encode())
        try:
            done = subprocess.run(
                ["setsid", "--ctty", "--wait", *command], cwd=project, env=environment | variables, stdin=terminal,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
            )  # fmt: skip
        finally:
            os.close(keyboard)
            os.close(terminal)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def machines_now() -> dict[str, Any]:
        descriptions = json.loads(run([S3_PYTHON, "-c", DESCRIBE]))
        return {tag["Value"]: each for each in descriptions for tag in each["Tags"] if tag["Key"] == "ray-user-node-type"}

    mentioned = [shlex.split(command)[1:] for command in re.findall(r"`(aws [^`]*)`", PAGE)]
    made = json.loads(run([S3_PYTHON, "-c", PREPARE, json.dumps(mentioned)]))
    text = re.sub(r"\b(ami|subnet|sg)-0+\b", lambda zeros: made[zeros[1]], (ROOT / "cluster.yaml").read_text())
    (project / "cluster.yaml").write_text(text)
    output: dict[str, str] = {}
    for line in LINES:
        if line.startswith("export "):
            environment |= [line.removeprefix("export ").split("=")]
            continue
        if "boto3" in line:  # as after its installation
            environment["PYTHONPATH"] = str(BOTO3)
        if line.startswith("ray down"):
            (head,) = (path for path in machines.iterdir() if (path / "running").exists())
            run([sys.executable, "-c", SCALE], HOME=str(head / "home"), REMOTE_HOST=head.name)
            before = machines_now()
            for command in re.findall(r"`(ray attach [^`]*)`", PAGE):
                run(["bash", "-eic", " ".join(command.split())])
        output[line] = run(["bash", "-eic", f"{line}\nwait"], "y\n")
    return Launched(folder, made, remote.calls(machines), output, before, machines_now())


def test_both_machines_are_closed_to_the_outside_and_of_the_right_kind(launched: Launched):
    assert set(launched.before) == {"head", "gpu"}
    for kind, machine in launched.before.items():
        profile, size = {"head": ("transfergan-head", 100), "gpu": ("transfergan-worker", 150)}[kind]
        (interface,) = machine["NetworkInterfaces"]
        assert machine["ImageId"] == launched.made["ami"]
        assert machine["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert [group["GroupId"] for group in interface["Groups"]] == [launched.made["sg"]]
        assert machine["SubnetId"] == launched.made["subnet"]
        assert "PublicIpAddress" not in machine  # although the subnet assigns them
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert machine["Disks"] == {"/dev/sda1": size}
    assert launched.before["gpu"]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in launched.before["head"]


def test_only_the_code_and_the_token_are_sent(launched: Launched):
    token = (launched.folder / "home/.ray/auth_token").read_text()
    assert (launched.folder / "home/.ray/auth_token").stat().st_mode & 0o777 == 0o600
    assert all(token not in text for text in launched.output.values())
    sent = {call[-1].partition("~/")[2]: call for call in launched.here("rsync")}
    assert set(sent) >= {"transfergan/", ".ray/auth_token", "ray_bootstrap_config.yaml"}
    assert sent["transfergan/"][-2] == "./"
    assert re.findall(r"--exclude (\S+)", " ".join(sent["transfergan/"])) == [".git", ".venv", "store"]
    assert "dir-merge,- .gitignore" in sent["transfergan/"]
    for kind in ("head", "gpu"):
        at = launched.before[kind]["InstanceId" if kind == "head" else "PrivateIpAddress"]
        assert (launched.folder / "machines" / at / "home/.ray/auth_token").read_text() == token


@pytest.mark.parametrize("kind", ["head", "gpu"])
def test_a_machine_installs_our_versions_and_starts_ray_with_a_token(launched: Launched, kind: str):
    installs = [call.arguments for call in launched.on(kind, "pip")]
    (code,) = (call[-1] for call in installs if "--constraint" in call)
    assert code.endswith("/home/transfergan")
    assert any(call[-1].startswith("boto3==") for call in installs) == (kind == "head")
    (container,) = (call.arguments for call in launched.on(kind, "docker") if call.arguments[0] == "run")
    assert {"--net=host", "--runtime=nvidia"} <= set(container)
    assert container[-2].endswith({"head": "-cpu", "gpu": "-gpu"}[kind])
    (start,) = (call for call in launched.on(kind, "ray") if call.arguments[0] == "start")
    assert start.variables["RAY_AUTH_MODE"] == "token"
    wanted = {"head": {"--head", "--dashboard-host=127.0.0.1"}, "gpu": {"--address=10.0.0.9:6379"}}[kind]
    assert wanted <= set(start.arguments)
    watches = [(call.arguments, call.variables["RAY_AUTH_MODE"]) for call in launched.on(kind, "python")]
    assert watches == ([] if kind == "head" else [(["-m", "bench.worker.spot_notice", "10.0.0.9:6379"], "token")])


def test_the_clouds_tunnel_leads_to_the_dashboard_and_to_rays_client(launched: Launched):
    session = "ssm start-session --region us-west-2 --target {} --document-name AWS-StartSSHSession --parameters portNumber=22"
    assert {" ".join(call) for call in launched.here("aws")} == {
        session.format(machine["InstanceId"]) for machine in launched.before.values()
    }
    tunnels = [call for call in launched.calls if "-L" in call.arguments]
    ends = [call.arguments[call.arguments.index("-L") + 1] for call in tunnels]
    assert ends == ["8265:localhost:8265", "10001:localhost:10001"]
    assert not tunnels[0].terminal  # else the shell stops it when it reads in the background
    (tunnel,) = (text for line, text in launched.output.items() if line.startswith("ray dashboard"))
    assert "Successfully established connection" in tunnel


def test_no_machine_is_left_in_the_end(launched: Launched):
    assert {machine["State"]["Name"] for machine in launched.before.values()} == {"running"}
    assert {machine["State"]["Name"] for machine in launched.after.values()} == {"terminated"}
