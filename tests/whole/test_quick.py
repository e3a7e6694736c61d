"""The choice of `make quick`: a quick test starts no process."""

import subprocess

import pytest


def test_a_quick_test_cannot_start_a_process():
    with pytest.raises(pytest.fail.Exception, match="starts a process"):
        subprocess.run(["true"], check=True)
