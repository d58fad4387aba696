"""Run ``bpfasm`` with the archive, the matrix and the pins of the tests: python3 -m support.lab_child FACTS WORDS...

FACTS is JSON: the keyring, and what stands in for the content of pins.toml.
"""

import json
import sys

from bpfasm.cli import main
from bpfasm.lab import matrix
from bpfasm.lab.packages import pins, sources
from support.archive import MATRIX

facts = json.loads(sys.argv[1])
sources.KEYRING = facts["keyring"]
matrix._matrix = lambda: MATRIX
pins._pins = lambda: facts["pins"]
sys.exit(main(sys.argv[2:]))
