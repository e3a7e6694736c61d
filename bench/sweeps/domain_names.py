"""The names that a sweep file gives to domains: ``domains: {faces: "folder:photos/faces"}``.

A name is only a label. Where the file uses it, it stands for its domain, so the trials, their keys and the store have the
domain, and the same folder has the same trials under every name.
"""

import re
from collections.abc import Mapping

from trainers.common.errors import UserError
from trainers.config.options import split
from trainers.config.sources import ARROW, IMPORT, parts
from trainers.domains import OWN, builtin_names, plugin_domains, torchvision_names

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def check_names(domains: Mapping[str, str]) -> None:
    """Raise UserError unless each name is free, can be written in a source, and stands for one domain that is no name itself.

    This is no part of the sweep's model: plug-ins take names, and the plans of existing stores must stay readable.
    """
    taken = {*builtin_names(), *plugin_domains(), *torchvision_names(), *OWN, IMPORT.removesuffix(":")}
    for name, domain in domains.items():
        if not _NAME.fullmatch(name):
            raise UserError(f"name {name!r} is not 1 to 32 letters, digits and . _ - after a letter or digit, e.g. my-faces")
        if name in taken:
            raise UserError(f"{name!r} is a name of transfergan's own; choose another one, e.g. my-{name}")
        plain = split(domain)[0]
        if plain in domains:
            raise UserError(f"{name} is {domain!r}, which is a name too; write what that stands for, {domains[plain]!r}")
        if ARROW in domain or len(parts(domain)) > 1 or domain.startswith(IMPORT):
            raise UserError(
                f"{name} is {domain!r}, and a name stands for one domain; mixtures, chains and imports go in sources"
            )
