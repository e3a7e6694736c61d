"""The paper's tables as data, with their provenance."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.comparison.cells import SCRATCH


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: `rows` of values in the order of `columns`, and the provenance of its digits."""

    name: str
    provenance: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def frame(self) -> pd.DataFrame:
        """Return the table as a data frame."""
        return pd.DataFrame(list(self.rows), columns=list(self.columns))

    def records(self) -> list[dict[str, Any]]:
        """Return the table as one dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


_VERBATIM = "verbatim from a public copy"
_RECALLED = "recalled; its digits are not confirmed"

#: ImageNet to 100,000 images of Bedrooms, by pre-trained network.
PARTS = Table("Table 1", _VERBATIM, ("strategy", "fid", "iw"), (
    (SCRATCH, 32.87, -4.27),
    ("finetune-d", 30.57, -4.02),
    ("finetune-g", 56.16, -6.35),
    ("finetune", 24.35, -3.88),
))  # fmt: skip

#: ImageNet to Bedrooms, by number of images.
SIZE = Table("Table 2", _VERBATIM, ("size", "strategy", "fid", "iw"), (
    (1_000, SCRATCH, 256.1, -33.3),
    (5_000, SCRATCH, 86.0, -18.5),
    (10_000, SCRATCH, 73.7, -15.3),
    (50_000, SCRATCH, 45.5, -7.4),
    (100_000, SCRATCH, 32.9, -4.3),
    (500_000, SCRATCH, 24.9, -3.6),
    (1_000_000, SCRATCH, 21.0, -2.9),
    (1_000, "finetune", 93.4, -22.5),
    (5_000, "finetune", 74.3, -16.3),
    (10_000, "finetune", 47.0, -7.0),
    (50_000, "finetune", 29.6, -4.56),
    (100_000, "finetune", 24.4, -4.0),
    (500_000, "finetune", 21.6, -3.2),
    (1_000_000, "finetune", 18.5, -2.8),
))  # fmt: skip

#: Numbers of images and classes of the data sets.
DOMAINS = Table("Table 3", _VERBATIM, ("domain", "images", "classes"), (
    ("imagenet", 1_000_000, 1_000),
    ("places", 2_400_000, 205),
    ("bedrooms", 3_000_000, 1),
    ("celeba", 200_000, 1),
    ("flowers", 8_000, 102),
    ("kitchens", 50_000, 1),
    ("lfw", 13_000, 1),
    ("cityscapes", 3_500, 1),
))  # fmt: skip

#: FID of four targets from four sources; scratch has no source.
SOURCE_TARGET = Table("Table 4", _VERBATIM, ("target", "source", "fid", "iw"), (
    ("flowers", None, 71.98, -13.62),
    ("flowers", "imagenet", 54.04, -3.09),
    ("flowers", "places", 66.25, -5.97),
    ("flowers", "bedrooms", 56.12, -5.90),
    ("flowers", "celeba", 67.96, -12.64),
    ("kitchens", None, 42.43, -7.79),
    ("kitchens", "imagenet", 34.35, -4.45),
    ("kitchens", "places", 34.59, -2.92),
    ("kitchens", "bedrooms", 28.54, -3.06),
    ("kitchens", "celeba", 38.41, -4.98),
    ("lfw", None, 19.36, -8.62),
    ("lfw", "imagenet", 9.65, -5.17),
    ("lfw", "places", 15.02, -6.61),
    ("lfw", "bedrooms", 7.45, -3.61),
    ("lfw", "celeba", 7.16, -3.45),
    ("cityscapes", None, 155.68, -9.32),
    ("cityscapes", "imagenet", 122.46, -9.00),
    ("cityscapes", "places", 151.34, -8.94),
    ("cityscapes", "bedrooms", 123.21, -8.44),
    ("cityscapes", "celeba", 130.64, -6.40),
))  # fmt: skip

#: FID between samples of the source's generator and the target's real images.
DISTANCE = Table("Table 5", _RECALLED, ("target", "source", "fid"), (
    ("flowers", "imagenet", 237.04),
    ("flowers", "places", 251.93),
    ("flowers", "bedrooms", 278.80),
    ("flowers", "celeba", 284.74),
    ("kitchens", "imagenet", 183.27),
    ("kitchens", "places", 180.63),
    ("kitchens", "bedrooms", 70.06),
    ("kitchens", "celeba", 254.12),
    ("lfw", "imagenet", 333.54),
    ("lfw", "places", 333.38),
    ("lfw", "bedrooms", 329.92),
    ("lfw", "celeba", 151.46),
    ("cityscapes", "imagenet", 233.45),
    ("cityscapes", "places", 181.72),
    ("cityscapes", "bedrooms", 227.53),
    ("cityscapes", "celeba", 292.66),
))  # fmt: skip

#: AC-GAN, Places to ten LSUN categories: FID by iteration and class, the average over classes, and of all images together.
CLASSES = Table("Table 6", _VERBATIM, ("iteration", "class", SCRATCH, "finetune"), (
    (250, "bedroom", 298.4, 168.3),
    (250, "bridge", 310.3, 122.1),
    (250, "church", 314.4, 148.1),
    (250, "classroom", 376.6, 145.0),
    (250, "conference", 339.1, 151.6),
    (250, "dining", 294.9, 144.2),
    (250, "kitchen", 314.2, 156.9),
    (250, "living", 316.5, 150.1),
    (250, "restaurant", 324.4, 113.3),
    (250, "tower", 301.0, 129.7),
    (250, "average", 319.0, 142.9),
    (250, "all", 352.4, 107.2),
    (2_500, "bedroom", 195.9, 140.8),
    (2_500, "bridge", 135.0, 96.8),
    (2_500, "church", 133.0, 77.4),
    (2_500, "classroom", 218.6, 136.0),
    (2_500, "conference", 185.3, 136.8),
    (2_500, "dining", 173.9, 84.6),
    (2_500, "kitchen", 167.9, 85.5),
    (2_500, "living", 189.3, 94.9),
    (2_500, "restaurant", 159.5, 77.0),
    (2_500, "tower", 125.6, 69.4),
    (2_500, "average", 168.4, 99.9),
    (2_500, "all", 137.3, 74.8),
    (25_000, "bedroom", 72.9, 59.9),
    (25_000, "bridge", 78.0, 68.6),
    (25_000, "church", 52.4, 48.2),
    (25_000, "classroom", 106.7, 79.0),
    (25_000, "conference", 76.9, 68.7),
    (25_000, "dining", 40.1, 35.2),
    (25_000, "kitchen", 53.9, 48.2),
    (25_000, "living", 56.1, 47.9),
    (25_000, "restaurant", 74.7, 44.4),
    (25_000, "tower", 59.8, 49.9),
    (25_000, "average", 67.2, 55.0),
    (25_000, "all", 49.6, 42.7),
))  # fmt: skip

#: The same: FID of all images, by number of images per class.
PER_CLASS = Table("Table 7", _VERBATIM, ("per_class", SCRATCH, "finetune"), (
    (100, 186.6, 109.1),
    (1_000, 134.1, 77.8),
    (10_000, 49.6, 42.7),
))  # fmt: skip

#: FID by iteration. Its last values disagree with table 1.
FIGURE = Table("Figure 1a", "read off the curve, each FID to within 0.1", ("step", SCRATCH, "finetune"), (
    (1_000, 128.1, 51.9),
    (5_000, 77.3, 40.2),
    (10_000, 56.4, 33.3),
    (20_000, 35.5, 26.6),
    (30_000, 28.7, 23.1),
    (40_000, 26.1, 21.6),
))  # fmt: skip
READING_ERROR = 0.1

TABLES = (PARTS, SIZE, DOMAINS, SOURCE_TARGET, DISTANCE, CLASSES, PER_CLASS, FIGURE)
