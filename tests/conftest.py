"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# One thread, as in a trial with one CPU: networks this small are slower on several, and far slower beside other processes.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def cache_of_prepared_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep prepared images out of the user's own cache."""
    folder = tmp_path_factory.mktemp("prepared")
    os.environ["TRANSFERGAN_CACHE"] = str(folder)
    yield folder
    del os.environ["TRANSFERGAN_CACHE"]
