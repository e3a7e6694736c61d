"""Data sets that are not on this machine are planned by their catalogue entry, and by themselves once they are."""

from pathlib import Path

import pytest

from tests.support import datasets
from trainers.common.errors import UserError
from trainers.domains import get
from trainers.domains.absent import Announced, get_or_announced, is_announced


def test_a_data_set_is_announced_until_it_is_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path))
    announced = get_or_announced("flowers102")
    assert isinstance(announced, Announced)
    assert (announced.count("train"), announced.count("reference"), len(announced.classes)) == (1020, 6149, 102)
    with pytest.raises(UserError, match="'flowers102' is not on this machine"):
        announced.load("train", 64)
    datasets.flowers102(tmp_path / "flowers102")
    assert get_or_announced("flowers102") is get("flowers102")
    assert get("flowers102").fingerprint != announced.fingerprint


def test_a_mixture_of_a_present_and_an_absent_domain_has_the_counts_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path))
    mixed = get_or_announced("letters+flowers102")
    assert is_announced(mixed)
    assert mixed.name == "flowers102+letters"
    assert mixed.count("train") == 1020 + get("letters").count("train")
    assert len(mixed.classes) == 102 + len(get("letters").classes)
    assert get_or_announced("letters+shapes") is get("letters+shapes")


def test_other_domains_are_unchanged():
    assert get_or_announced("digits") is get("digits")
    with pytest.raises(UserError, match="unknown domain 'flours102'"):
        get_or_announced("flours102")
