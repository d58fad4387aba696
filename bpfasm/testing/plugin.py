"""The pytest plugin. A test marked ``lab`` becomes one for each kernel that ``--on`` names: ``test_it[6.1]``.

Where bpfasm is installed pytest loads this at each start: it imports nothing more until ``--on`` names a kernel.
"""

from __future__ import annotations

import os
from zlib import crc32

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpfasm.lab import Kernel

MARKER = (
    "lab(on='each'): run on each kernel that --on names: this one (live), or one of bpfasm's lab, inside a guest; "
    "of the lab's, with on='ends', on the first and the last only, with on='one' on one of those between, and with "
    "on='live' on none"
)

#: The name of the kernel that runs here.
LIVE = "live"

#: The names of the kernels that this run's tests are for.
NAMES = pytest.StashKey[list[str]]()

#: How long a test in a guest may take, in seconds, where ``lab_timeout`` does not say.
TIMEOUT_S = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings of the configuration file."""
    group = parser.getgroup("lab", "tests marked `lab`: on other kernels, in guests of bpfasm's lab")
    group.addoption(
        "--on",
        action="append",
        default=[],
        metavar="WHERE",
        help="live, a version of `bpfasm lab kernels`, the path of a kernel, or all; several with commas "
        "(default: BPFASM_ON, or live)",
    )
    group.addoption("--lab-report", metavar="FILE", help="write there, as JSON, what each kernel's tests came to")
    parser.addini("lab_timeout", "seconds that a test in a guest may take", default=str(TIMEOUT_S))
    parser.addini("lab_packages", "Python packages that guests get beside pytest", type="args", default=[])
    parser.addini("lab_copy", "files and folders that guests get (default: the root folder)", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    """Find out which kernels are meant."""
    config.addinivalue_line("markers", MARKER)
    asked = config.getoption("--on") or [os.environ.get("BPFASM_ON") or LIVE]
    kernels: dict[str, Kernel] = {}
    config.stash[NAMES] = [LIVE]
    if asked != [LIVE]:
        config.stash[NAMES], kernels = _named(asked)
    if kernels:
        from bpfasm.testing.guests import Guests

        config.pluginmanager.register(Guests(config, kernels), "bpfasm_lab_guests")
    if config.getoption("--lab-report"):
        from bpfasm.testing.results import Results

        config.pluginmanager.register(Results(config), "bpfasm_lab_results")


def _named(asked: Sequence[str]) -> tuple[list[str], dict[str, Kernel]]:
    """Return the names of the kernels asked for, in order, and those of the lab by name."""
    from bpfasm import lab, place
    from bpfasm.errors import BpfasmError

    names: list[str] = []
    kernels: dict[str, Kernel] = {}
    try:
        for chosen in place.choose(asked, ["bpf"]):
            name = chosen.kernel
            if not chosen.live:
                kernel = lab.find(name)
                # A path would make an id that is hard to read and to type.
                name = str(kernel.release) if "/" in name else name
                kernels[name] = kernel
            names.append(name)
    except BpfasmError as error:
        raise pytest.UsageError(f"--on: {error}") from None
    return list(dict.fromkeys(names)), kernels


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one of a marked test for each kernel. The kernel comes first in the id, since this hook does."""
    marker = metafunc.definition.get_closest_marker("lab")
    if marker:
        names = _marked(marker, metafunc.config.stash[NAMES], metafunc.definition.nodeid)
        if "lab_kernel" not in metafunc.fixturenames:
            metafunc.fixturenames.append("lab_kernel")
        metafunc.parametrize("lab_kernel", names or [LIVE], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of this kernel that are marked, where --on does not name it."""
    if LIVE in config.stash[NAMES]:
        return
    here = [item for item in items if kernel_of(item) == LIVE]
    if here:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if kernel_of(item) != LIVE]


def _marked(marker: pytest.Mark, names: list[str], test: str) -> list[str]:
    """Return the kernels, of those that this run is for, that a test is to run on."""
    where = marker.kwargs.get("on", "each")
    if marker.args or marker.kwargs.keys() - {"on"} or where not in ("each", "ends", "one", "live"):
        raise pytest.UsageError("the mark lab takes nothing but on='each', on='ends', on='one' or on='live'")
    if where == "each":
        return names
    guests = [name for name in names if name != LIVE]
    chosen = [*guests[:1], *guests[-1:]]
    if where == "one":
        # One that has not those of the ends to do as well. Its name decides: a test stays where it was.
        between = guests[1:-1] or guests
        chosen = between and [between[crc32(test.encode()) % len(between)]]
    elif where == "live":
        chosen = []
    return [name for name in names if name == LIVE or name in chosen]


@pytest.fixture(scope="session")
def lab_kernel(request: pytest.FixtureRequest) -> str:
    """Return the name of the kernel that the test runs on: "live", or as ``--on`` has it."""
    return str(getattr(request, "param", LIVE))


def kernel_of(item: pytest.Item) -> str | None:
    """Return the name of the kernel that a marked test is for."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("lab_kernel") if callspec else None
