"""The expansion of a sweep's grid into its plan: every trial with its key and its parent. Enumerates only; starts nothing."""

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, product
from types import MappingProxyType
from typing import Any

from bench.sweeps import class_notes
from bench.sweeps.class_notes import FEWEST_REFERENCE
from bench.sweeps.misfits import AXES
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec
from trainers.common.counts import counted
from trainers.common.errors import Problems, UserError, within
from trainers.config import sources
from trainers.config.augmentations import get_augmentation
from trainers.config.embeddings import ANNOUNCED
from trainers.config.settings import GanConfig
from trainers.config.strategies import get_strategy, in_cell
from trainers.config.trial import DomainRef, TrialConfig
from trainers.domains import Domain, get
from trainers.domains.absent import is_announced
from trainers.domains.account import skipped_line
from trainers.domains.mixtures import parts_of

#: Number of reference images below which a plan notes that they are few.
FEW_REFERENCE = 100

#: Imported sources as recorded trials, by name and whether they are conditional.
Imports = Mapping[tuple[str, bool], TrialConfig]


def make_plan(spec: SweepSpec, imports: Imports = MappingProxyType({}), find: Callable[[str], Domain] = get) -> Plan:
    """Expand a sweep's grid into trials; `imports` are the imported sources of the store, `find` returns a domain by name.

    Raises:
        UserError: a domain is unknown, missing or empty, has too few reference images, or lacks the labels or the resolution
            that the sweep needs; a strategy needs a source and the sweep has none; or an imported source is missing or has
            other networks than the sweep.
    """
    if spec.domains:
        spec = spec.model_copy(update={"domains": {name: find(text).name for name, text in spec.domains.items()}})
    with_source = [name for name in spec.strategies if get_strategy(name).needs_source]
    if with_source and not spec.sources:
        raise UserError(f"sources: the list is empty, and strategy {with_source[0]!r} starts from a source; name one or more")
    linked = [link for source in spec.sources if with_source for link in sources.links(source)]
    used = dict.fromkeys((*(link for link in linked if not link.startswith(sources.IMPORT)), *spec.targets))
    domains, problems = {name: find(name) for name in used}, Problems()
    for name, domain in domains.items():
        with problems.collected():
            _check(domain, spec, conditional=_needs_labels(name, spec))
    problems.check()
    notes = [note for name, domain in domains.items() for note in _notes(name, domain, spec)]
    notes += _repeated(spec, domains)
    if linked and len(spec.pretrain.seeds) > len(spec.seeds):
        unused = len(spec.pretrain.seeds) - len(spec.seeds)
        last = "the last is" if unused == 1 else f"the last {unused} are"
        notes.append(f"pretrain.seeds: {last} not used, as `seeds` are fewer and each starts from one training")

    origins: dict[tuple[str, bool, int], TrialConfig] = {}
    pretrains: dict[str, TrialConfig] = {}
    adapts: dict[str, TrialConfig] = {}
    refs = {name: _ref(domain) for name, domain in domains.items()}
    gans = {conditional: spec.gan.of_trial(conditional) for conditional in (False, True)}
    ends = {source: set(sources.domains(source)) for source in spec.sources}
    grid: list[str] = []
    to_itself: dict[str, None] = {}
    cells = product(spec.targets, spec.sizes, spec.conditional, spec.augmentation)
    for target, size, conditional, augmentation in cells:
        used_size: int | None = None
        for strategy, source, seed, training in _starts(spec):
            origin = None
            strategy, labelled = in_cell(get_strategy(strategy), conditional)
            if source is not None:
                if target in ends[source]:
                    to_itself.setdefault(target)
                    continue
                if (source, labelled, training) not in origins:
                    chain = _chain(spec, source, domains, imports, labelled, training)
                    pretrains |= {link.key: link for link in chain}
                    origins[source, labelled, training] = chain[-1]
                origin = origins[source, labelled, training]
            used_size = used_size or _size(size, domains[target], augmentation)
            trial = TrialConfig(
                kind="adapt",
                domain=refs[target],
                size=used_size,
                source=None if origin is None else origin.as_source,
                strategy=strategy,
                parent=None if origin is None else origin.key,
                conditional=conditional,
                augmentation=augmentation,
                seed=seed,
                gan=gans[conditional],
                training=spec.training,
                evaluation=spec.evaluation,
            )
            adapts.setdefault(trial.key, trial)
            grid.append(trial.key)
    if not adapts:
        raise UserError(
            f"sources: {spec.targets[0]!r} is the target too, and no trial starts from its target; name another source"
        )
    notes += [
        f"{_label(name, domains[name], spec)} is a target and a source: no trial starts from a source that contains its target"
        for name in to_itself
    ]
    trials = (*pretrains.values(), *adapts.values())
    if spec.gan.of_trial(False) != spec.gan and not any(trial.conditional for trial in trials):
        notes.append(f"gan.class_head: {spec.gan.class_head} changes nothing, as no trial is conditional")
    absent = [_label(name, domain, spec) for name, domain in domains.items() if is_announced(domain)]
    if spec.evaluation.embedding.startswith(ANNOUNCED):
        absent.append(f"the weights of {spec.evaluation.embedding.removeprefix(ANNOUNCED)}")
    if absent:
        consequence = "their trials are planned without final keys, so none of them counts as done"
        notes.append(f"not on this machine: {', '.join(absent)}; {consequence}")
    return Plan(spec, trials, tuple(grid), tuple(notes), tuple(absent))


def _repeated(spec: SweepSpec, domains: Mapping[str, Domain]) -> Iterator[str]:
    """Yield a remark on each list of the grid that has an entry twice, such as a domain by its name and spelled out."""

    def identity(entry: Any) -> Any:
        links = sources.links(entry) if isinstance(entry, str) else ()
        return entry if not links else tuple(domains[link].fingerprint if link in domains else link for link in links)

    for axis in AXES:
        entries = getattr(spec, axis)
        first = {identity(entry): number for number, entry in reversed([*enumerate(entries)])}
        twice = [entry for number, entry in enumerate(entries) if first[identity(entry)] != number]
        if twice:
            texts = " and ".join(dict.fromkeys(sources.renamed(str(entry), spec.labels) for entry in twice))
            yield f"{axis}: {texts} {'is' if len(twice) == 1 else 'are'} in the list twice; equal trials run once"


def _size(size: int, domain: Domain, augmentation: str) -> int:
    """Return the training images of a trial, at most all; raise UserError if the augmentation holds out most of them."""
    size = min(size, domain.count("train"))
    if (held_out := get_augmentation(augmentation).held_out(size)) > size / 2:
        raise UserError(
            f"augmentation: {augmentation} holds out {held_out} training images, and a trial on {domain.name!r} has {size}; "
            f"set sizes to {2 * held_out} or more, or leave {augmentation} out"
        )
    return size


def _starts(spec: SweepSpec) -> Iterator[tuple[str, str | None, int, int]]:
    """Yield the strategy, source, seed and seed of the source's training of each grid point of a cell.

    Strategies that need no source get None for it. The seeds take the trainings in turn.
    """
    seeds = list(zip(spec.seeds, cycle(spec.pretrain.seeds), strict=False))
    for strategy, source, (seed, training) in product(spec.strategies, spec.sources or (None,), seeds):
        yield strategy, source if get_strategy(strategy).needs_source else None, seed, training


def _chain(
    spec: SweepSpec, source: str, domains: Mapping[str, Domain], imports: Imports, conditional: bool, seed: int
) -> list[TrialConfig]:  # fmt: skip
    """Return the pretrain trials of a source, one per link of its chain; each starts from the one before it."""
    chain: list[TrialConfig] = []
    for link in sources.links(source):
        if not link.startswith(sources.IMPORT):
            chain.append(_pretrain(spec, domains[link], conditional, chain[-1] if chain else None, seed))
        elif chain:
            raise UserError(
                f"sources: {link!r} is imported, so it can only be the first link of chain {source!r}; move it to the front"
            )
        else:
            chain.append(_imported(spec, link, imports, conditional))
    return chain


def _imported(spec: SweepSpec, name: str, imports: Imports, conditional: bool) -> TrialConfig:
    kind = "conditional" if conditional else "unconditional"
    if (name, conditional) not in imports:
        other = f"; it is {'un' if conditional else ''}conditional" if (name, not conditional) in imports else ""
        raise UserError(f"sources: the store has no {kind} source {name!r}{other}; see transfergan import --help")
    trial = imports[name, conditional]
    theirs, ours = (gan.of_trial(conditional) for gan in (trial.gan, spec.gan))
    for key in GanConfig.model_fields:  # a dump leaves some out at their defaults
        if (imported := getattr(theirs, key)) != (value := getattr(ours, key)):
            raise UserError(f"gan.{key}: source {name!r} was imported with {imported!r}, and the sweep has {value!r}")
    return trial


def _pretrain(spec: SweepSpec, domain: Domain, conditional: bool, before: TrialConfig | None, seed: int) -> TrialConfig:
    return TrialConfig(
        kind="pretrain",
        domain=_ref(domain),
        size=domain.count("train"),
        source=None if before is None else before.as_source,
        strategy=None if before is None else "finetune",
        parent=None if before is None else before.key,
        conditional=conditional,
        seed=seed,
        gan=spec.gan.of_trial(conditional),
        training=spec.pretrain.training(spec.training),
        until=spec.pretrain.until,
        evaluation=spec.evaluation,
    )


def _ref(domain: Domain) -> DomainRef:
    return DomainRef(name=domain.name, fingerprint=domain.fingerprint, classes=domain.classes)


def _needs_labels(name: str, spec: SweepSpec) -> bool:
    """Return whether any trial is conditional on the classes of a domain."""
    if name in spec.targets and any(spec.conditional):
        return True
    sourced = [strategy for strategy in map(get_strategy, spec.strategies) if strategy.needs_source]
    linked = any(name in sources.links(source) for source in spec.sources)
    return linked and any(in_cell(s, conditional)[1] for s in sourced for conditional in spec.conditional)


def check_measurable(domain: Domain, resolution: int, setting: str = "gan.resolution") -> None:
    """Raise UserError if a domain cannot be had at a resolution (pixels, of `setting`), or has few reference images."""
    with within(setting):
        domain.check_resolution(resolution)
    if (count := domain.count("reference")) < FEWEST_REFERENCE:
        raise UserError(
            f"domain {domain.name!r} has {counted(count, 'reference image')} and needs {FEWEST_REFERENCE}; add images "
            "(in a small collection one in two is a reference image)"
        )


def _check(domain: Domain, spec: SweepSpec, *, conditional: bool) -> None:
    """Raise UserError if a domain does not suit the sweep."""
    check_measurable(domain, spec.gan.resolution)
    if conditional and not domain.classes:
        unlabelled = " and ".join(repr(part.name) for part in parts_of(domain) if not part.classes)
        raise UserError(
            f"conditional: domain {unlabelled} has no class labels; set conditional: [false] or sort it into folders"
        )


def _label(name: str, domain: Domain, spec: SweepSpec) -> str:
    """Return what the sweep file calls a domain, by default `name`."""
    label = sources.renamed(domain.name, spec.labels)
    return name if label == domain.name else label


def _notes(name: str, domain: Domain, spec: SweepSpec) -> Iterator[str]:
    """Yield remarks on a domain: skipped images, few reference images, sizes beyond its images, classes without images."""
    label = _label(name, domain, spec)
    if skipped := skipped_line(domain.skipped):
        yield f"{label}: {skipped}"
    count, reference = domain.count("train"), domain.count("reference")
    if reference < FEW_REFERENCE:
        yield f"{label}: only {counted(reference, 'reference image')}, so FID and KID are imprecise"
    if name in spec.targets:
        for size in spec.sizes:
            if size > count:
                yield f"{label}: size {size:,} exceeds its {counted(count, 'training image')}; all of them are used"
    if domain.classes and not is_announced(domain):
        if _needs_labels(name, spec):
            yield from class_notes.of_split(label, domain)
        if name in spec.targets:
            yield from class_notes.of_sizes(label, domain, spec.sizes, spec.augmentation, any(spec.conditional))
