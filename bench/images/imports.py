"""Imported sources in the store: recorded like sources that were pre-trained here, and found by name."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bench.store import Store
from bench.store.environments import record_environment
from bench.store.references import StoredReferences
from bench.store.trial_files import checkpoint_path, generator_path, real_samples_path, samples_path
from bench.sweeps.expansion import Imports
from bench.sweeps.rows import measurement_rows, outcome_row, recorded_trial
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError, within
from trainers.config.sources import IMPORT
from trainers.config.trial import DomainRef, TrialConfig
from trainers.domains import Domain, get

if TYPE_CHECKING:
    from trainers.trial.imports import Fitting

#: Name under which imports are recorded, in place of a sweep's.
SWEEP = "imports"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """Return the source name of an import in sweeps. Raises UserError for a name that a sweep file cannot contain."""
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: only letters, digits and . _ - are allowed; choose another, e.g. --name faces")
    return IMPORT + name


def as_trial(fitting: "Fitting", source: str, domain: Domain, spec: SweepSpec, *, conditional: bool) -> TrialConfig:
    """Return the trial that an import is recorded as.

    Args:
        fitting, source: the networks, and their source name in sweeps.
        domain: the domain that they were trained on and are measured against.
        spec: the sweep with the same networks, and the evaluation.
        conditional: whether they are conditional on the domain's classes, in their order.
    """
    classes = domain.classes if conditional else ()
    return TrialConfig(
        kind="pretrain",
        domain=DomainRef(name=domain.name, fingerprint=domain.fingerprint, classes=domain.classes),
        size=domain.count("train"),
        source=DomainRef(name=source, fingerprint=fitting.fingerprint, classes=classes),
        conditional=conditional,
        gan=spec.gan.of_trial(conditional),
        training=spec.training.model_copy(update={"steps": 1}),  # none are taken
        evaluation=spec.evaluation,
    )


def record(store: Store, trial: TrialConfig, fitting: "Fitting") -> Mapping[str, float | None]:
    """Measure an import and publish it, its outcome last; return the measured values by metric."""
    from trainers.evaluation.evaluator import real_grid
    from trainers.trial.imports import first_rung

    rung = first_rung(trial, fitting, StoredReferences(store))
    assert rung.checkpoint is not None
    assert rung.generator is not None
    assert rung.samples is not None
    checkpoint, samples, real = checkpoint_path(trial.key, 0), samples_path(trial.key, 0), real_samples_path(trial)
    store.append("measurements", SWEEP, measurement_rows(trial, rung))
    store.write_file(samples, rung.samples)
    if not store.has_file(real):
        store.write_file(real, real_grid(trial.domain.name, trial.gan.resolution))
    store.write_file(generator_path(trial.key, 0), rung.generator)
    store.write_file(checkpoint, rung.checkpoint)
    environment = record_environment(store, SWEEP)
    row = outcome_row(trial, "done", environment, rung.report, checkpoint=checkpoint, samples=samples, real_samples=real)
    store.append("trials", SWEEP, [row])
    return rung.report


def imported(store: Store) -> Imports:
    """Return the imports of a store by name and whether they are conditional; the last one of each name.

    Those that another version of transfergan has recorded, and this one cannot read, are left out.
    """
    trials: list[TrialConfig] = []
    rows = store.rows("trials")  # by the time of their record
    for row in rows.drop_columns(["recorded_at"]).to_pylist():
        is_import = row["kind"] == "pretrain" and row["parent"] is None and (row["source"] or "").startswith(IMPORT)
        if not is_import or row["status"] != "done":
            continue
        with suppress(ValidationError):
            trials.append(recorded_trial(row))
    return {(trial.as_source.name, trial.conditional): trial for trial in trials}


def known_domain(name: str, spec: SweepSpec, *, conditional: bool) -> Domain:
    """Return the domain that an import was trained on.

    Raises:
        UserError: the domain is unknown, cannot be had at the sweep's resolution, or lacks classes and `conditional` is set.
    """
    domain = get(name)
    with within("gan.resolution"):
        domain.check_resolution(spec.gan.resolution)
    if conditional and not domain.classes:
        raise UserError(f"--domain {name!r} has no class labels; leave out --conditional")
    return domain
