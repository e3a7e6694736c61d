"""How many trials run at a time on the machines that are up and those that may come, and which trials fit on none."""

import pytest

from bench.on_ray import slots as module
from bench.on_ray.cluster import refuse_too_large
from bench.on_ray.slots import MAX_WORKERS, WORKER_CPUS, WORKER_GPUS, Machines, Rooms, slots, slots_of, waiting_for
from bench.sweeps.spec import ResourcesConfig
from trainers.common.errors import UserError

EIGHT = {"CPU": 96.0, "GPU": 8.0, "memory": 1e12}
HEAD = {MAX_WORKERS: 4.0}
DECLARES = {**HEAD, WORKER_CPUS: 96.0, WORKER_GPUS: 8.0}


@pytest.mark.parametrize(("machine", "cpus", "gpus", "fit"), [
    (EIGHT, 1, 1, 8),
    (EIGHT, 1, 4, 2),
    (EIGHT, 1, 5, 1),
    (EIGHT, 1, 9, 0),
    (EIGHT, 1, 0.5, 16),
    (EIGHT, 1, 0.3, 24),  # three on each GPU, although 8 / 0.3 is 26
    (EIGHT, 1, 1 / 3, 24),
    (EIGHT, 1, 1 / 8, 64),
    (EIGHT, 20, 0.5, 4),  # the cores are fewer
    (EIGHT, 3, 0, 32),
    ({"CPU": 2.0}, 1, 1, 0),
    ({}, 1, 0, 0),
])  # fmt: skip
def test_trials_fit_on_a_machine_by_whole_cores_and_shares_of_single_gpus(
    machine: dict[str, float], cpus: int, gpus: float, fit: int
):
    assert slots_of(machine, ResourcesConfig(cpus=cpus, gpus=gpus)) == fit


@pytest.mark.parametrize(("machines", "gpus", "number"), [
    ([EIGHT, EIGHT], 1, 16),
    ([{"CPU": 1.0}, {"CPU": 1.0}], 1, 1),  # never 0: the queue has one trial
    ([DECLARES], 1, 32),
    ([DECLARES], 0.25, 4 * 32),
    ([DECLARES, EIGHT], 1, 32),  # one of the four is up
    ([DECLARES, *[EIGHT] * 5], 1, 40),  # more than the head knows of
    ([HEAD, EIGHT], 1, 32),  # the others are taken to be like the one that is up
    ([HEAD], 1, 4),  # nothing is known of them
])  # fmt: skip
def test_machines_that_may_come_have_as_many_slots_as_the_head_says_or_the_largest_has(
    machines: list[dict[str, float]], gpus: float, number: int
):
    assert slots(machines, ResourcesConfig(gpus=gpus)) == number


@pytest.mark.parametrize(("machines", "cpus", "gpus", "said"), [
    ([{"CPU": 2.0}, {"CPU": 2.0}], 3, 0, r"resources\.cpus: a trial asks for 3 CPUs and the largest machine has 2; set reso"),
    ([EIGHT, EIGHT], 1, 16, r"resources\.gpus: a trial asks for 16 GPUs and the largest machine has 8; set resources\.gpus"),
    ([{"CPU": 64.0}, {"CPU": 1.0, "GPU": 1.0}], 8, 1, "asks for 8 CPUs and 1 GPU on one machine, and no machine has both"),
    ([DECLARES], 97, 0, "the largest machine has 96"),
])  # fmt: skip
def test_a_trial_that_fits_on_no_single_machine_is_refused(machines: list[dict[str, float]], cpus: int, gpus: float, said: str):
    with pytest.raises(UserError, match=said):
        refuse_too_large(machines, ResourcesConfig(cpus=cpus, gpus=gpus))


@pytest.mark.parametrize("machines", [[HEAD], [DECLARES], [{"CPU": 1.0}, EIGHT]])
def test_a_trial_waits_for_a_machine_that_may_come(machines: list[dict[str, float]]):
    refuse_too_large(machines, ResourcesConfig(cpus=96, gpus=8))


def test_what_trials_wait_for_is_said_with_the_machines_that_are_up():
    needed = ResourcesConfig(cpus=4, gpus=1)
    waits = "no trial runs: each waits for 4 CPUs and 1 GPU that are free on one machine; machines that are up: "
    assert waiting_for([HEAD], needed, [1]) == f"{waits}none"
    assert waiting_for([HEAD, EIGHT], needed, [1, 1]) == f"{waits}96 CPUs and 8 GPUs"
    assert waiting_for([{"CPU": 2.0}] * 5, needed, [1]).endswith(
        "2 CPUs and 0 GPUs, 2 CPUs and 0 GPUs, 2 CPUs and 0 GPUs and 2 more"
    )
    assert "each waits for 4 CPUs and 1 GPU or 8 CPUs and 2 GPUs (2 slots, as" in waiting_for([EIGHT], needed, [2, 1, 2])


@pytest.mark.parametrize(("before", "after", "taken"), [
    ([{"CPU": 8.0}], [{"CPU": 3.0}, {"CPU": 2.0}], 3),
    ([{"CPU": 8.0}], [], 4),  # whatever comes next is not known
    ([{"CPU": 2.0}], [{"CPU": 8.0}], 4),
    ([DECLARES], [DECLARES], 4),
    ([HEAD, {"CPU": 8.0}], [HEAD, {"CPU": 1.0}], 1),
    ([DECLARES, EIGHT], [{**DECLARES, MAX_WORKERS: 1.0}, {"CPU": 2.0}], 2),  # no more of them will come
])  # fmt: skip
def test_a_widened_trial_takes_at_most_what_the_largest_machine_has_that_is_up_or_may_come(
    before: Machines, after: Machines, taken: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LOOK", 0.0)
    machines = [before]
    monkeypatch.setattr(module, "alive", lambda: machines[0])
    rooms = Rooms(ResourcesConfig())
    assert rooms.take("narrow") == 1
    for _ in range(2):
        rooms.widen("wide")
    waits_for = rooms.take("wide")
    machines[0] = after
    assert rooms.may_get(waits_for) == (waits_for <= taken)
    assert rooms.take("wide") == min(taken, 2 * waits_for)
    assert rooms.take("narrow") == 1
    assert dict(rooms.taken) == {"wide": rooms.take("wide")}


def test_a_trial_that_lacked_memory_on_a_smaller_machine_takes_no_less_on_a_large_one_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOOK", 0.0)
    machines: list[Machines] = [[{"CPU": 8.0}]]
    monkeypatch.setattr(module, "alive", lambda: machines[0])
    rooms, taken = Rooms(ResourcesConfig()), []
    for cpus in (8.0, 8.0, 1.0, 1.0, 8.0, 8.0):
        machines[0] = [{"CPU": cpus}]
        if cpus == 1.0:
            rooms.take("wide")  # as it is narrowed
        rooms.widen("wide")
        taken.append(rooms.taken["wide"])
    assert taken == [2, 4, 1, 1, 4, 8]
