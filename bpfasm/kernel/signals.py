"""SIGTERM as an exception, so that what ``with`` opened is closed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
else:
    import _signal  # the C module under ``signal``, which wraps it in enums and takes 5 ms to import


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP asked this process to end. Handled where Ctrl-C is."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class terminable:  # noqa: N801  used like a function
    """Within ``with terminable():``, the first SIGTERM or SIGHUP raises Terminated; later ones wait for the end.

    For the main thread of a command. Without it, SIGTERM ends Python on the spot: the kernel closes the fds, and
    only what outlives a process (a tracefs event) is left behind.
    """

    _SIGNALS = (_signal.SIGTERM, _signal.SIGHUP)

    def __enter__(self) -> None:
        # What was ignored stays ignored: that is what nohup does.
        caught = [signum for signum in self._SIGNALS if _signal.getsignal(signum) != _signal.SIG_IGN]
        self._before = {signum: _signal.signal(signum, self._raise) for signum in caught}

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            _signal.signal(signum, _signal.SIG_DFL if handler is None else handler)

    def _raise(self, signum: int, _frame: FrameType | None) -> None:
        # Cleaning up must not be cut short by whoever asks twice.
        for each in self._before:
            _signal.signal(each, _signal.SIG_IGN)
        raise Terminated(signum)
