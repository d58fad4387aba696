"""The guest's first process: mount, load modules, then run what the host asks for. Runs in the guest only.

It talks with the host through one virtio port, in frames: a kind (1 byte), a length (4 bytes, little-endian),
and so many bytes. bpfasm/lab/guest/wire.py is the other end, and says what each kind means.

Start is what a learner waits for, and under emulation each import counts ten-fold: this file stands alone and
imports what is built in, except for ctypes.
"""

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

PORT = "/dev/vport0p1"
LAB = "/lab"
MODULES = "/lab/modules"
CHUNK = 1 << 16

#: What is mounted where; a kernel without one of these goes without. (source, target, type, options)
MOUNTS = (
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", ""),
    ("devpts", "/dev/pts", "devpts", "ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
    ("tmpfs", "/run", "tmpfs", "mode=0755"),
    ("securityfs", "/sys/kernel/security", "securityfs", ""),
    ("debugfs", "/sys/kernel/debug", "debugfs", ""),
    ("tracefs", "/sys/kernel/tracing", "tracefs", ""),
    ("bpf", "/sys/fs/bpf", "bpf", "mode=0700"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
)

#: The disk, and the folder it is mounted at.
DISK, DISK_FOLDER = "/dev/vda", "/mnt/disk"

_SYS_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}


def main() -> None:
    """Set the guest up and serve the host until it says goodbye."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    uname = os.uname()
    finit_module = _SYS_FINIT_MODULE.get(uname.machine, 0)
    _mount(libc)
    _load(libc, finit_module, MODULES)
    _make_nodes(f"/lib/modules/{uname.release}/modules.devname")
    _mount_disk(libc, finit_module)
    _loopback(libc)
    # Bytes on the wake-up pipe end the wait of poll when a child has ended.
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    _signal.set_wakeup_fd(woken)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    port = _open_port()
    reader = Reader(port)
    shared = Shared(port)
    archive = bytearray()
    while True:
        kind, data = reader.next()
        if kind == b"H":
            _wake_up(data)
            uname = os.uname()
            send(port, b"R", f"{uname.release} {uname.machine}".encode())
        elif kind == b"P":
            archive += data
            if not data:
                _unpack(port, bytes(archive))
                archive.clear()
        elif kind == b"J":
            Job(port, reader, wake, shared, data).run()
        elif kind in {b"D", b"F", b"B"}:
            shared.take(kind, data)
        elif kind in {b"Q", b""}:
            break
    os.sync()
    libc.reboot(0x4321FEDC)  # LINUX_REBOOT_CMD_POWER_OFF


def _mount(libc) -> None:  # type: ignore[no-untyped-def]
    for source, target, kind, options in MOUNTS:
        try:
            if target == "/tmp" and os.listdir(target):
                continue  # the image has files there
            os.makedirs(target, exist_ok=True)
        except OSError:
            continue
        libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode() or None)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(target, f"/dev/{name}")
    with open("/proc/sys/kernel/hostname", "w") as file:
        file.write("lab")


def _load(libc, number: int, index: str) -> None:  # type: ignore[no-untyped-def]
    """Load the modules that a file lists, by the system call's number; the kernel loads others when they are used."""
    for path in _lines(index):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if libc.syscall(number, fd, b"", 0):
            import ctypes

            print(f"lab: module {path}: {os.strerror(ctypes.get_errno())}", flush=True)
        os.close(fd)


def _make_nodes(index: str) -> None:
    """Make the device nodes whose opening loads a module, as in: loop loop-control c10:237."""
    for line in _lines(index):
        _, name, number = line.split()
        path = f"/dev/{name}"
        if os.path.exists(path):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        major, _, minor = number[1:].partition(":")
        kind = 0o020000 if number[0] == "c" else 0o060000  # S_IFCHR, S_IFBLK
        os.mknod(path, 0o600 | kind, os.makedev(int(major), int(minor)))


def _mount_disk(libc, number: int) -> None:  # type: ignore[no-untyped-def]
    from sys import argv

    if "disk" not in argv:
        # Who looks for it reads why it is not there.
        os.symlink("no disk: mkfs.ext4 (e2fsprogs) is not on the host", DISK_FOLDER)
        return
    _load(libc, number, MODULES + ".disk")
    os.mkdir(DISK_FOLDER)
    if libc.mount(DISK.encode(), DISK_FOLDER.encode(), b"ext4", 0, None):
        print(f"lab: {DISK} cannot be mounted", flush=True)


def _lines(path: str) -> list[str]:
    """Return the lines of a file; none when it is not there."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _loopback(libc) -> None:  # type: ignore[no-untyped-def]
    # By the C library, as Python's socket module takes longer to import than all that is mounted here.
    control = libc.socket(2, 2, 0)  # AF_INET, SOCK_DGRAM
    # struct ifreq with IFF_UP | IFF_RUNNING, SIOCSIFFLAGS
    libc.ioctl(control, 0x8914, b"lo".ljust(16, b"\0") + (0x41).to_bytes(2, "little") + bytes(22))
    os.close(control)


def _own(name: str):  # type: ignore[no-untyped-def]
    """Import a module of the guest's own."""
    from sys import path

    if LAB not in path:
        path.append(LAB)
    return __import__(name)


def _unpack(port: int, archive: bytes) -> None:
    """Add files to this guest's, as the kernel did with those it started from; tell the host what went wrong."""
    try:
        _own("unpack").unpack(archive)
    except (OSError, ValueError) as error:
        send(port, b"N", str(error).encode(errors="replace"))


def _wake_up(data: bytes) -> None:
    """Set the clock, and make the random numbers other than those of the next guest from the same snapshot."""
    import fcntl
    import time

    time.clock_settime_ns(time.CLOCK_REALTIME, int.from_bytes(data[:8], "little"))
    seed = data[8:]
    fd = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
    # struct rand_pool_info: bits of entropy, bytes, and the bytes
    sizes = (8 * len(seed)).to_bytes(4, "little") + len(seed).to_bytes(4, "little")
    fcntl.ioctl(fd, 0x40085203, sizes + seed)  # RNDADDENTROPY
    try:  # noqa: SIM105 - contextlib takes long to import here
        fcntl.ioctl(fd, 0x5207)  # RNDRESEEDCRNG
    except OSError:
        pass  # not seeded yet, so nothing to replace
    os.close(fd)


def _open_port() -> int:
    """Open the port to the host; its device appears a moment after its driver."""
    for _ in range(2000):
        try:
            return os.open(PORT, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            select.select([], [], [], 0.005)
    raise SystemExit(f"lab: no {PORT}: is virtio_console missing from this kernel?")


def send(port: int, kind: bytes, data: bytes = b"") -> None:
    """Write one frame."""
    left = memoryview(kind + len(data).to_bytes(4, "little") + data)
    while left:
        left = left[os.write(port, left) :]


class Reader:
    """Take frames off the port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.held = bytearray()

    def next(self) -> tuple[bytes, bytes]:
        """Wait for the next frame; (b"", b"") when the host is gone."""
        while True:
            frame = self.take()
            if frame:
                return frame
            if not self.fill():
                return b"", b""

    def take(self) -> tuple[bytes, bytes] | None:
        """Return a frame that is here already."""
        size = 5 + int.from_bytes(self.held[1:5], "little")
        if len(self.held) < 5 or len(self.held) < size:
            return None
        frame = bytes(self.held[:1]), bytes(self.held[5:size])
        del self.held[:size]
        return frame

    def fill(self) -> bool:
        """Read what there is; False when the host is gone."""
        data = os.read(self.port, CHUNK)
        self.held += data
        return bool(data)


class Shared:
    """The folders that the next job has in common with the host: how they come in, and what goes back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.folders = []  # type: ignore[var-annotated]
        self.problem = ""

    def take(self, kind: bytes, data: bytes) -> None:
        """Do what a frame before the job says."""
        if kind == b"D":
            self._open(data[0], data[1:])
        elif data[0] < len(self.folders):
            self.folders[data[0]].take(kind, data[1:])

    def _open(self, number: int, path: bytes) -> None:
        """Make a folder and empty it, and tell the host how much fits in."""
        folder = _own("folder")
        if number == 0:
            self.close()
        try:
            os.makedirs(path, exist_ok=True)
            self.folders.append(folder.Folder(number, path))
            self.folders[-1].clear()
            space = os.statvfs(path)
        except OSError as error:
            self.problem = f"{os.fsdecode(path)}: {error.strerror}"
        with open("/proc/meminfo") as file:
            facts = dict(line.split(":") for line in file)
        room = int(facts["MemAvailable"].split()[0]) << 10
        if not self.problem and space.f_blocks:  # a ramfs knows no bound
            room = min(room, space.f_bavail * space.f_frsize)
        send(self.port, b"D", str(room).encode())

    def ready(self) -> str:
        """Take note of what is there now that all has come; return what went wrong, in words, or ""."""
        for each in self.folders:
            each.done()
            for path, reason in each.lost:
                self.problem = self.problem or f"{os.fsdecode(each.path + b'/' + path)}: {reason}"
            each.remember()
        return self.problem

    def give_back(self) -> None:
        """Send what has changed since."""
        for each in self.folders:
            for kind, data in each.changes():
                send(self.port, kind, data)

    def close(self) -> None:
        """Forget them."""
        for each in self.folders:
            each.close()
        self.folders = []
        self.problem = ""


class Job:
    """One command: its process, and the pipes or the terminal between it and the host."""

    def __init__(self, port: int, reader: Reader, wake: int, shared: Shared, request: bytes) -> None:
        self.port = port
        self.reader = reader
        self.wake = wake
        self.shared = shared
        fields = request.split(b"\0")
        self.cwd = fields[0]
        self.size = fields[1]
        self.sharing = fields[2] != b"0"
        count = int(fields[3])
        self.argv = fields[4 : 4 + count]
        self.env = dict(field.partition(b"=")[::2] for field in fields[4 + count :] if field)
        self.stdin = -1
        self.terminal = -1  # the command's end of it
        self.waiting = b""
        self.status = -1
        self.over = False

    def run(self) -> None:
        """Start it, carry its bytes until it ends, and tell the host its status."""
        if not self.sharing:
            self.shared.close()
        problem = self.shared.ready()
        if problem:
            send(self.port, b"N", problem.encode(errors="surrogateescape"))
            return
        files, outputs = self._open_terminal() if self.size else self._open_pipes()
        os.set_blocking(self.stdin, False)
        self.pid = os.fork()
        if self.pid == 0:
            self._become(files)
        for fd in files:
            if fd != self.terminal:
                os.close(fd)
        self._carry(outputs)
        self._close_stdin()
        send(self.port, b"Z")
        self.shared.give_back()
        self.shared.close()
        send(self.port, b"X", str(self.status).encode())

    def _open_pipes(self) -> tuple[tuple[int, ...], dict[int, bytes]]:
        child_in, self.stdin = os.pipe()
        out, child_out = os.pipe()
        err, child_err = os.pipe()
        return (child_in, child_out, child_err), {out: b"O", err: b"E"}

    def _open_terminal(self) -> tuple[tuple[int, ...], dict[int, bytes]]:
        import termios

        # Its own end stays open here until the command is over: a program may close it for a while.
        ours, self.terminal = os.openpty()
        self.stdin = os.dup(ours)
        self._resize(self.size)
        settings = termios.tcgetattr(self.terminal)
        settings[0] |= 0x4000  # IUTF8: one character is erased, not one byte
        termios.tcsetattr(self.terminal, termios.TCSANOW, settings)
        return (self.terminal,) * 3, {ours: b"O"}

    def _resize(self, size: bytes) -> None:
        import fcntl

        rows, columns = map(int, size.split())
        # struct winsize, TIOCSWINSZ
        fcntl.ioctl(self.stdin, 0x5414, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))

    def _become(self, files: tuple[int, ...]) -> None:
        """Turn this process into the command; never return."""
        status = 127
        try:
            os.setsid()
            if self.terminal >= 0:
                import fcntl

                fcntl.ioctl(self.terminal, 0x540E, 0)  # TIOCSCTTY
            for target, fd in enumerate(files):
                os.dup2(fd, target)
            _signal.set_wakeup_fd(-1)
            for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT, _signal.SIGCHLD):
                _signal.signal(number, _signal.SIG_DFL)
            try:
                os.chdir(self.cwd)
            except OSError as error:
                status = 125
                os.write(2, b"lab: cannot start in " + self.cwd + b": " + str(error.strerror).encode() + b"\n")
                os._exit(status)
            os.execvpe(self.argv[0], self.argv, self.env)
        except OSError as error:
            status = 127 if isinstance(error, FileNotFoundError) else 126
            os.write(2, b"lab: cannot run " + self.argv[0] + b": " + str(error.strerror).encode() + b"\n")
        finally:
            os._exit(status)

    def _carry(self, outputs: dict[int, bytes]) -> None:
        poll = select.poll()
        poll.register(self.port, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        for fd in outputs:
            poll.register(fd, select.POLLIN)
        self._obey()  # some may have come along with the request
        while outputs or not self.over:
            if self.waiting and self.stdin >= 0:
                poll.register(self.stdin, select.POLLOUT)
            for fd, _ in poll.poll():
                if fd == self.wake:
                    self._reap()
                elif fd in outputs:
                    data = self._read(fd)
                    if data:
                        send(self.port, outputs[fd], data)
                    else:
                        poll.unregister(fd)
                        os.close(fd)
                        del outputs[fd]
                elif fd == self.port:
                    if not self.reader.fill():
                        os._exit(0)  # the host is gone: the kernel panics, and the machine with it ends
                    self._obey()
                elif fd == self.stdin:
                    poll.unregister(fd)
                    self._feed()

    @staticmethod
    def _read(fd: int) -> bytes:
        try:
            return os.read(fd, CHUNK)
        except OSError:
            return b""  # EIO: nobody has the terminal's other end

    def _reap(self) -> None:
        """Collect every child that has ended; as the first process we are given other processes' children too."""
        try:
            while os.read(self.wake, 512):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
                self.over = True
                # What it left running would hold its pipes open: it ends with it.
                _kill(-1, _signal.SIGKILL)
                if self.terminal >= 0:
                    os.close(self.terminal)
                    self.terminal = -1

    def _obey(self) -> None:
        """Do what the host asks for in the frames that are here."""
        while True:
            frame = self.reader.take()
            if frame is None:
                return
            kind, data = frame
            if kind == b"I":
                self.waiting += data
                if not data:
                    self._close_stdin()
            elif kind == b"S" and not self.over:
                _kill(-self.pid, int(data))
            elif kind == b"W" and self.stdin >= 0:
                self._resize(data)

    def _feed(self) -> None:
        """Hand the command what the host sent for its stdin; ask for more when it has taken all."""
        try:
            self.waiting = self.waiting[os.write(self.stdin, self.waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self.waiting = b""
            self._close_stdin()
            return
        if not self.waiting:
            send(self.port, b"A")

    def _close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1


def _kill(pid: int, number: int) -> None:
    try:  # noqa: SIM105 - contextlib takes long to import here
        os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main()
