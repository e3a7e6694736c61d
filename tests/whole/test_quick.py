"""The choice of `make quick`: which tests are slow, and that a quick one starts no process."""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.conftest import SLOW

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_of_slow_tests_names_tests_that_exist():
    for test in SLOW:
        file, _, name = test.partition("::")
        defined = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert not name or name in defined, test


def test_a_quick_test_cannot_start_a_process():
    with pytest.raises(pytest.fail.Exception, match="starts a process"):
        subprocess.run(["true"], check=True)
