"""Programs and maps in a real kernel: objects that own a file descriptor.

>>> from bpfasm.kernel import load                                  # doctest: +SKIP
>>> with load(chowncount) as obj:                                   # doctest: +SKIP
...     obj.attach()
...     obj[counts][0]
0

``load()`` is the one way from descriptions (``Program``, ``MapSpec``) to objects. Each object is a context manager;
closing is idempotent and happens in the right order; what was forgotten is closed with a ``ResourceWarning``.
"""

from bpfasm.kernel.links.link import Link as Link
from bpfasm.kernel.load import Loaded as Loaded, load as load
from bpfasm.kernel.maps.map import LoadedMap as LoadedMap
from bpfasm.kernel.programs.program import (
    KernelProgram as KernelProgram,
    LoadedProgram as LoadedProgram,
    TestRun as TestRun,
)
