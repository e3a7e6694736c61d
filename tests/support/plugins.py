"""Packages with plug-ins, installed into a folder as pip would: the README's example, and others with mistakes."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()

_START = README.index("## Your own domain, strategy, metric")
#: What the README says of plug-ins.
SECTION = README[_START : README.index("\n## ", _START)]


def install(folder: Path, name: str, source: str, groups: Mapping[str, Mapping[str, str]]) -> Path:
    """Install a package of one module into a folder that is to be on the path, and return the folder."""
    about = folder / f"{name}-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for group, own in groups.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (folder / f"{name}.py").write_text(source)
    return folder


def install_example(folder: Path) -> Path:
    """Install the README's example package, `my_gans`, and return the folder."""
    python, toml = (re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.M | re.S) for language in ("python", "toml"))
    return install(folder, "my_gans", "\n".join(python), tomllib.loads(toml[0])["project"]["entry-points"])
