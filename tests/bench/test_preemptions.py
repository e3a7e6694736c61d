"""A sweep that is killed and drained at random moments: nothing is lost, doubled or failed, and few steps are repeated."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.run import in_process
from bench.store import Store, open_store
from bench.upkeep.check import check
from bench.worker.trial import train
from tests.support import tiny
from tests.support.endurance import TIMES, repeats
from trainers.common.errors import Left
from trainers.core.gan import Gan

#: Preemptions, of which one in four is announced, and the steps for each of them.
PREEMPTIONS, APART = repeats(3, full=200), 600 if TIMES else 400

#: The steps of each of the three trials. A checkpoint is begun every ten steps, and is in the store some steps later.
STEPS = PREEMPTIONS * APART // 3
CHANGES: dict[str, Any] = {
    "gan": {"family": "dcgan", "resolution": 8, "width": 4, "latent": 16},
    "training": {"steps": STEPS, "batch": 8, "critic_steps": 1, "loss": "hinge", "gradient_penalty": 0},
    "pretrain": {"steps": STEPS},
    "evaluation": {"samples": 64, "first_rung": STEPS // 2},
}


class KilledError(BaseException):
    """Ends a run as a kill does."""


class Preemptions:
    """Kills runs before steps, and before and after the next publication; asks some to leave."""

    def __init__(self) -> None:
        self._dice = random.Random(3)
        self.happened: list[str] = []
        self.armed: str | None = None
        self.leaving = False

    def before_step(self) -> None:
        if len(self.happened) == PREEMPTIONS or self.armed or self.leaving or self._dice.random() >= 1.2 / APART:
            return
        kind = ("step", "drain", "before", "after")[len(self.happened) % 4]
        self.happened.append(kind)
        if kind == "step":
            raise KilledError
        if kind == "drain":
            self.leaving = True
        else:
            self.armed = kind

    def around(self, publish: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._die_if("before")
        result = publish(*arguments, **options)
        self._die_if("after")
        return result

    def _die_if(self, moment: str) -> None:
        if self.armed == moment:
            self.armed = None
            raise KilledError


@pytest.mark.slow
@pytest.mark.endurance
def test_kills_and_drains_at_any_moment_lose_and_double_nothing_and_repeat_few_steps(
    tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch
):
    whole, disturbed = (open_store(str(tmp_path / name), create=True) for name in ("whole", "disturbed"))
    plan = tiny.make(**CHANGES, resources={"checkpoint_minutes": 1e-9})
    tiny.run_here(plan, whole)
    needed = len(steps)
    assert needed == 3 * STEPS
    steps.clear()

    preemptions = Preemptions()
    take, write, append = Gan._take_step_on, Store.write_file, Store.append

    def takes(gan: Gan, *arguments: Any) -> None:
        preemptions.before_step()
        take(gan, *arguments)

    monkeypatch.setattr(Gan, "_take_step_on", takes)
    monkeypatch.setattr(Store, "write_file", lambda *arguments, **options: preemptions.around(write, *arguments, **options))
    monkeypatch.setattr(Store, "append", lambda *arguments, **options: preemptions.around(append, *arguments, **options))
    monkeypatch.setattr(in_process, "train", partial(train, leave=lambda: preemptions.leaving))
    ended = False
    while not ended:
        try:
            tiny.run_here(plan, disturbed)
            ended = True
        except (KilledError, Left):
            preemptions.leaving = False

    repeated = len(steps) - needed
    print(f"{len(preemptions.happened)} preemptions in {needed} steps: {repeated} steps repeated ({repeated / needed:.2%})")
    assert len(preemptions.happened) == PREEMPTIONS
    assert 0 <= repeated <= (0.02 if TIMES else 0.05) * needed  # three vary more than two hundred
    assert set(tiny.outcomes(disturbed)["status"]) == {"done"}
    pd.testing.assert_frame_equal(tiny.outcomes(disturbed), tiny.outcomes(whole))
    pd.testing.assert_series_equal(tiny.values(disturbed), tiny.values(whole), check_exact=True)
    assert sum(map(len, disturbed.read_parts("trials").values())) == 3, "a finished trial is recorded once"
    assert check(disturbed) == []
