"""``python -m bpfasm`` is the command ``bpfasm``."""

from bpfasm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
