# SPDX-License-Identifier: GPL-3.0-or-later
"""What the harness is made of: sizes of runs, waiting, network namespaces, processes and their readiness."""
import contextlib
import ctypes
import glob
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from api_client import Deadline

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CONND_BUILD", ROOT / "build" / "release"))
# Times are for an ordinary build; sanitizers are slower.
SANITIZER = os.environ.get("CONND_SANITIZE", "")
SCALE = 4.0 if SANITIZER else 1.0
# Long tests at their full size.
FULL = bool(os.environ.get("CONND_FULL"))
# Whoever waits for something to happen waits at least so long: such a limit is there against a hang, and a machine that is slow
# today must not break it. A test of a time takes the time, and compares (see Late).
PATIENCE = 60 * SCALE
START_SECONDS = PATIENCE
READY_SECONDS = PATIENCE
STOP_SECONDS = 15 * SCALE
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")

PREFIX = "jce-"
CLONE_NEWNET = 0x40000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
NET = "10.77.0."
# OpenDHT's default port: any would do in a namespace of its own.
DHT_PORT = 4222
LIBC = ctypes.CDLL(None, use_errno=True)


# As many files as we may have.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def sized(sanitized, quick, full):
    """A count or size for this kind of run."""
    return sanitized if SANITIZER else full if FULL else quick


def as_many_channels(wanted):
    """At most as many as this process may hold both ends of, with some files for the rest."""
    return min(wanted, (FILES - 200) // 2)


def as_many_from_each_side(wanted):
    """At most as many as two processes, and two daemons, may hold if each side opens them: 500 files are for the rest."""
    return min(wanted, (FILES - 500) // 2)


def binary(variable, relative):
    return os.environ.get(variable) or str(BUILD / relative)


DAEMON = binary("CONND_DAEMON", "daemon/jami-connd")
CTL = binary("CONND_CTL", "tools/jami-connctl")
MAKE_IDENTITY = binary("CONND_MAKE_IDENTITY", "tests/make_identity")


def until(condition, timeout, what):
    """For what gives no event: asks until `condition` is true; its value. `timeout`: see PATIENCE."""
    timeout = max(timeout, PATIENCE)
    deadline = Deadline(timeout)
    while True:
        value = condition()
        if value:
            return value
        if deadline.passed():
            raise TimeoutError(f"not in {timeout} s: {what}")
        select.select([], [], [], 0.01)


def read_until(pipe, text, timeout):
    """What a process writes, until `text` has come. By the descriptor: nothing stays in a buffer of `pipe`."""
    deadline, data = Deadline(max(timeout, PATIENCE)), b""
    while text not in data:
        assert select.select([pipe], [], [], deadline.left())[0], f"no {text} in {timeout} s, but {data[-1000:]}"
        part = os.read(pipe.fileno(), 1 << 16)
        assert part, f"no {text} before it ended, but {data[-1000:]}"
        data += part
    return data


class Late(threading.Thread):
    """How late this machine is while the block lasts: what a thread that asks to be woken every few milliseconds has waited
    beyond that. A bound of a time has that added: what was tested is then the program, not who else had the processor."""

    STEP = 0.005
    # Less is every machine's.
    WORTH_TELLING = 0.005

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.spells = []  # (when it was to be woken, when it was)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.is_set():
            due = time.monotonic() + self.STEP
            select.select([], [], [], self.STEP)
            woken = time.monotonic()
            if woken - due > self.WORTH_TELLING:
                self.spells.append((due, woken))

    @property
    def seconds(self):
        """All of it, until now."""
        return sum(end - begin for begin, end in list(self.spells))

    def within(self, begin, end):
        """What of it was between these times of time.monotonic()."""
        return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in list(self.spells))


def kept_waiting(pid, threads=False):
    """For how many seconds a process's first thread, which of a daemon is its loop's, has been ready to run and had no processor;
    or all its threads, each by itself."""
    places = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat") if threads else [pathlib.Path(f"/proc/{pid}/schedstat")]
    seconds = 0.0
    for place in places:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a kernel that does not count it, or a thread that has ended
            seconds += int(place.read_text(encoding="ascii").split()[1]) / 1e9
    return seconds


def open_files(pid):
    """What each descriptor of a process is, by its number; those that it closes meanwhile are left out."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def lost_datagrams(pid):
    """How many the kernel dropped because a UDP socket of that process was full."""
    own, count = set(open_files(pid).values()), 0
    for table in ("udp", "udp6"):
        for row in pathlib.Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            cells = row.split()
            count += int(cells[12]) if f"socket:[{cells[9]}]" in own else 0
    return count


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def sha256(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


# ---- network namespaces ----


def namespaces_allowed():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0


def default_mode():
    mode = os.environ.get("CONND_E2E_MODE")
    if mode not in (None, "", "netns", "loopback"):
        raise ValueError(f"CONND_E2E_MODE={mode}: netns or loopback")
    return mode or ("netns" if namespaces_allowed() else "loopback")


def enter(namespace):
    """Moves the calling thread into a namespace."""
    with open(f"/run/netns/{namespace}", "rb") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def inside(namespace, function, *arguments):
    """Runs a function in a thread inside a namespace (None: here). Sockets that it makes stay there."""
    if namespace is None:
        return function(*arguments)
    result = []

    def body():
        try:
            enter(namespace)
            result.append((function(*arguments), None))
        except BaseException as error:  # handed to the caller
            result.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = result[0]
    if error:
        raise error
    return value


def sweep():
    """Removes namespaces and directories of runs that are no more."""
    for path in glob.glob(f"/run/netns/{PREFIX}*") + glob.glob(f"{tempfile.gettempdir()}/{PREFIX}*"):
        owner = os.path.basename(path).split("-")[1]
        if owner.isdigit() and os.path.exists(f"/proc/{owner}"):
            continue
        if path.startswith("/run/netns/"):
            subprocess.run(["ip", "netns", "del", os.path.basename(path)], check=False, capture_output=True)
            continue
        with contextlib.suppress(FileNotFoundError):  # its own run, or another one's sweep, was first
            if os.stat(path).st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)


# ---- processes ----


class Process:
    """One process with its log. `namespace`: None is ours; `nofile`: its limit of open files."""

    def __init__(self, command, log, namespace=None, nofile=None, environment=None, stdin=subprocess.DEVNULL,
                 stdout=None, user=None, mode="wb"):
        self.command = [str(part) for part in command]
        self.log_path = log
        self.log_file = open(log, mode)  # closed in wait()
        self.namespace = namespace
        self.nofile = nofile
        self.popen = subprocess.Popen(self.command, stdin=stdin, stdout=stdout or self.log_file, stderr=self.log_file,
                                      env=environment, preexec_fn=self._prepare, close_fds=True, user=user)
        self.pid = self.popen.pid
        self.pidfd = os.pidfd_open(self.pid)

    def _prepare(self):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.namespace:
            enter(self.namespace)
        if self.nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def wait(self, timeout):
        """The exit code."""
        code = self.popen.wait(timeout)
        self.log_file.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        return code

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        return self.wait(PATIENCE)


class Notify:
    """The other end of sd_notify(3)."""

    def __init__(self, path):
        self.path = path
        if os.path.exists(path):
            os.unlink(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)

    def wait_ready(self, process, timeout):
        """True once READY=1 has come, False when the process ended first."""
        deadline = Deadline(timeout)
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        poller.register(process.pidfd, select.POLLIN)
        while True:
            ready = dict(poller.poll(deadline.left() * 1000))
            if not ready:
                raise TimeoutError(f"no READY=1 in {timeout} s")
            if self.sock.fileno() in ready and b"READY=1" in self.sock.recv(65536).split(b"\n"):
                return True
            if process.pidfd in ready:
                return False

    def close(self):
        self.sock.close()
        os.unlink(self.path)
