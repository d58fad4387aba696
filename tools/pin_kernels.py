"""Write lab/packages/pins.toml: the newest packages of each kernel and userland of the lab, with their checksums.

    python3 tools/pin_kernels.py            # for the mirror that this machine's apt is set up with

The checksums come from the archive's lists, whose signatures apt has checked.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from bpfasm.lab import cache, matrix
from bpfasm.lab.packages import bundle, debian, pins, sources
from bpfasm.lab.packages.pool import ARCHITECTURES, Package

HEAD = """\
# Written by tools/pin_kernels.py. The packages of each kernel and userland of the lab, by their paths in Debian's
# archive; `snapshot` is a time at which Debian's snapshot service has all of them.

snapshot = "{time:%Y%m%dT%H%M%SZ}"

[bundles]
"""

#: The snapshot service takes some hours to have what the lists name; the archive keeps what is replaced for a day
#: and a half.
LATER = timedelta(hours=12)


def bundles() -> list[bundle.Bundle]:
    """Return all that the lab may have to fetch."""
    return [*map(bundle.of_kernel, matrix.everything()), *map(bundle.of_userland, ARCHITECTURES)]


def main() -> int:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    where = sources.mirror()
    dates = []
    rows = ""
    for each in bundles():
        with cache.workdir() as work:
            apt = debian.prepare(work, where, each.suites, ARCHITECTURES[each.arch])
            debian.update(apt, lambda *_: None)
            rows += row(each.name, debian.find(apt, each.releases, each.packages))
            for signed in (work / "lists").glob("*_InRelease"):
                dates += re.findall(r"^Date: (.*)$", signed.read_text(), re.MULTILINE)
    time = max(map(parsedate_to_datetime, dates)) + LATER
    Path(pins.__file__).with_name("pins.toml").write_text(HEAD.format(time=time) + rows)
    return 0


def row(name: str, packages: list[Package]) -> str:
    """Return the lines of one bundle."""
    lines = "".join(
        f'    {{ path = "{package.path}", size = {package.size}, sha256 = "{package.sha256}" }},\n'
        for package in sorted(packages, key=lambda package: package.path)
    )
    return f'"{name}" = [\n{lines}]\n'


if __name__ == "__main__":
    sys.exit(main())
