"""Labels in a file beside the images: ``dataset.json`` of StyleGAN's data sets, ``val_annotations.txt`` of Tiny ImageNet."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from trainers.common.errors import UserError
from trainers.domains.files.split_names import SPLIT_NAMES, Layout, layout

DATASET, ANNOTATIONS = "dataset.json", "val_annotations.txt"

#: Returns the content of a file of a collection by its name, or None if there is none.
Read = Callable[[str], bytes | None]


def labelled_layout(domain: str, names: Sequence[str], paths: Sequence[str], read: Read) -> Layout:
    """Return the layout of a domain's files, with the classes of a label file if there is one.

    Args:
        domain: name of the domain, for messages.
        names: of the image files, all of them.
        paths: the same without the folders that all of them share.
        read: reads another file by its name.

    Raises:
        UserError: a label file does not fit the images.
    """
    shared = names[0].removesuffix(paths[0])
    folder = ""
    for part in ("", *shared.split("/")[:-1]):
        folder += f"{part}/" if part else ""
        if (labels := _dataset(domain, folder + DATASET, read(folder + DATASET))) is not None:
            return _by_dataset(domain, names, folder, labels)
    plain = layout(paths)
    for top in sorted({path.partition("/")[0] for path in paths}) if plain.splits else ():
        if top.lower() in SPLIT_NAMES and (content := read(f"{shared}{top}/{ANNOTATIONS}")) is not None:
            return _by_annotations(domain, plain, paths, top, content)
    return plain


def _dataset(domain: str, source: str, content: bytes | None) -> dict[str, object] | None:
    """Return the labels of a ``dataset.json``, {} if it says that there are none, None if it is missing or of another kind."""
    if content is None:
        return None
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        fault = f"{source} is no JSON, so the labels of these images are unknown; copy it again, or remove it"
        raise UserError(f"domain {domain!r}: {fault}") from error
    if not isinstance(data, dict) or not isinstance(data.get("labels", ""), list | None):
        return None
    entries = [entry for entry in data["labels"] or () if isinstance(entry, list) and len(entry) == 2]
    labels = {str(name): label for name, label in entries}
    if twice := next((name for name, label in entries if labels[str(name)] != label), None):
        raise UserError(f"domain {domain!r}: {source} has two labels for {twice}; correct it")
    return labels


def _by_dataset(domain: str, names: Sequence[str], folder: str, labels: dict[str, object]) -> Layout:
    """Return the layout of a StyleGAN data set: its folders are neither splits nor classes."""
    source = folder + DATASET
    if not labels:
        return Layout(None, ("",) * len(names), text=f"no classes: {source} has no labels", labels_from=source)
    of_images = [labels.get(name.removeprefix(folder)) for name in names]
    numbers = [label for label in of_images if type(label) is int and label >= 0]
    if lacking := len(names) - len(numbers):
        first = next(name for name, label in zip(names, of_images, strict=True) if type(label) is not int or label < 0)
        fault = f"{source} has no whole number as label for {lacking:,} of {len(names):,} images, e.g. {first}"
        raise UserError(f"domain {domain!r}: {fault}; complete it, or set its labels to null")
    digits = len(str(max(numbers)))
    classes = tuple(f"{label:0{digits}}" for label in numbers)
    return Layout(None, classes, text=f"the classes are in {source}", labels_from=source)


def _by_annotations(domain: str, plain: Layout, paths: Sequence[str], top: str, content: bytes) -> Layout:
    """Return the layout of Tiny ImageNet: the classes of one split are in a file; images without a class are not used."""
    source, splits = f"{top}/{ANNOTATIONS}", plain.splits or ()
    rows = [line.split("\t") for line in content.decode(errors="surrogateescape").splitlines()]
    labels = {row[0]: row[1].strip() for row in rows if len(row) > 1}
    if not labels:
        fault = f"{source} has no line with a file and its class, separated by a tab"
        raise UserError(f"domain {domain!r}: {fault}; copy it again, or remove it")
    trained = {name for name, split in zip(plain.classes, splits, strict=True) if split == "train" and name}
    if strange := sorted({*labels.values()} - trained):
        fault = f"{source} names the class {strange[0]!r}, which has no training images"
        raise UserError(f"domain {domain!r}: {fault}; correct or remove that file")
    classes = tuple(
        labels.get(path.rpartition("/")[2], "") if path.startswith(f"{top}/") else name if name in trained else ""
        for path, name in zip(paths, plain.classes, strict=True)
    )
    return replace(
        plain,
        splits=tuple(split if name else None for split, name in zip(splits, classes, strict=True)),
        classes=classes,
        outside=f"without a class, by its folder or by {source}",
        text=f"{plain.text.partition(';')[0]}; {len(trained):,} folders are the classes; those of {top} are in {source}",
        labels_from=source,
    )
