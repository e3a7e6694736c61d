"""SIGTERM and SIGHUP end a run as Ctrl-C does."""

import signal
import sys
from pathlib import Path
from threading import Event

import pytest

from bench.cli import main
from bench.run.interrupts import answer_by, answered, as_interrupts
from tests.support import tiny


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_a_block_and_its_former_handler_returns(number: signal.Signals):
    before = signal.getsignal(number)
    of_ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)  # an earlier run of Ray Tune may have left its own
    try:
        with as_interrupts() as came:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
            assert came == [number]
    finally:
        signal.signal(signal.SIGINT, of_ctrl_c)
    assert signal.getsignal(number) == before


def test_a_signal_goes_to_whatever_handles_ctrl_c():
    """As Ray Tune does during a run."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with as_interrupts() as came:
            signal.raise_signal(signal.SIGTERM)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background jobs of a shell
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (seen, came) == ([signal.SIGINT], [signal.SIGTERM] * 2)


def test_an_ignored_signal_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_interrupts() as came:
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == []


def test_a_signal_is_answered_before_the_main_thread_is_through_with_what_it_does():
    answer, told, answered_meanwhile = Event(), list[str](), list[bool]()
    before = signal.signal(signal.SIGTERM, lambda number, frame: answered_meanwhile.append(answer.wait(tiny.PATIENCE)))
    try:
        with answered():
            answer_by(lambda line: (told.append(line), answer.set()))
            signal.raise_signal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (told, answered_meanwhile) == (["stopping ..."], [True])
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_every_verb_ends_as_on_ctrl_c(
    number: int, status: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):  # fmt: skip
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "argv", ["transfergan", "domains"])
    monkeypatch.setattr("bench.images.domains.rows", lambda: signal.raise_signal(number))
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert end.value.code == status
    assert capfd.readouterr() == ("", "stopping ...\n")


@pytest.mark.slow
def test_a_run_that_is_terminated_records_and_reports_what_it_has(tmp_path: Path):
    """Without Ray; see test_sweep for a run on Ray."""
    changes = {"sources": [], "strategies": ["scratch"], "conditional": [False], "training": {"steps": 1_000_000, "batch": 8}}
    store, spec = tmp_path / "store", tiny.write_spec(tmp_path, **changes)
    with tiny.start("run", spec, "--store", store, "--address", "here", cwd=tmp_path) as run:
        try:
            tiny.wait_for(lambda: bool(list(store.glob("checkpoints/*/*.safetensors"))))
            run.send_signal(signal.SIGHUP)
            output, _ = run.communicate(timeout=tiny.PATIENCE)
        finally:
            run.kill()
    assert run.returncode == 128 + signal.SIGHUP, output
    assert output.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert "Traceback" not in output
    assert output.splitlines().count("stopping ...") == 1
    assert (store / "report.html").exists()
    assert tiny.claimed(store) == []
