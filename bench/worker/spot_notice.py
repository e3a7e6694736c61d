"""Drains this machine's Ray node once the cloud takes back the machine, so that its trials leave it in time.

``python -m bench.worker.spot_notice HEAD:PORT`` on a spot machine asks the cloud's metadata server until there is a notice: two
minutes before the end on AWS, half a minute on Google Cloud. Ray itself does not ask.
"""

import os
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

#: The metadata server of both clouds.
SERVER = "http://169.254.169.254"

#: Seconds between two questions, for an answer, and from the notice to the end of the machine at most.
ASK, ANSWER, REMAINING = 5.0, 2.0, 120


def noticed(server: str = SERVER) -> bool:
    """Return whether the cloud has given notice that it takes back this machine."""
    google = _get(f"{server}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    if google is not None:
        return google == "TRUE"
    token = _get(f"{server}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
    if token is None:
        return False
    # AWS has no such page without a notice.
    return _get(f"{server}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}) is not None


def _get(url: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """Return the body of a page, or None if there is no such page or no answer."""
    try:
        with urlopen(Request(url, headers=headers, method=method), timeout=ANSWER) as page:  # noqa: S310 - always http
            return str(page.read().decode())
    except (URLError, TimeoutError):
        return None


def drain(address: str) -> None:
    """Drain the Ray node of this machine in the cluster whose head is at an address, HOST:PORT."""
    why = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the cloud takes back the machine")
    command = ["ray", "drain-node", *why, "--deadline-remaining-seconds", str(REMAINING)]
    # Given as --address, the address does not tell the command which node is on this machine.
    subprocess.run(command, env={**os.environ, "RAY_ADDRESS": address}, check=True)  # noqa: S603 - without a shell


if __name__ == "__main__":
    while not noticed():
        time.sleep(ASK)
    drain(sys.argv[1])
