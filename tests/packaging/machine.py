# SPDX-License-Identifier: GPL-3.0-or-later
"""A booted Debian 12 of our own, in a container: systemd-nspawn on a root made by debootstrap, with no network but its own.

The root with what the packages depend on is made once and kept in ${XDG_CACHE_HOME:-~/.cache}/jami-connd; a machine is
an overlay on it, and leaves nothing. Needs root, debootstrap, systemd-nspawn and, the first time, Debian's mirror.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

SUITE = "bookworm"
# What a minimal root lacks of an ordinary machine: an init, logins, and their bus.
ORDINARY = ["dbus", "libpam-systemd", "systemd", "systemd-sysv"]
# What is not installed there, but can be without a network.
AT_HAND = ["dhtnode"]
# dpkg's list of what a minimal root has, kept for questions about one.
MINIMAL = "/var/lib/dpkg/status-minimal"
MAKE_SECONDS = 900
BOOT_SECONDS = 300
RUN_SECONDS = 300
KEPT_DAYS = 30  # roots that nobody has used for so long go
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}


class CannotBoot(Exception):
    """This place has not what it takes; the text says what."""


def check_place():
    if os.geteuid() != 0:
        raise CannotBoot("needs root")
    for program in ("debootstrap", "systemd-nspawn", "nsenter", "ip", "dpkg-deb"):
        if not shutil.which(program):
            raise CannotBoot(f"needs {program}")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        raise CannotBoot("needs mount namespaces")


def mirror():
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
                            check=False, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        codename, _, uri = line.partition(" ")
        if codename == SUITE:
            return uri
    raise CannotBoot(f"this machine's apt knows no mirror of {SUITE}")


def depends_of(debs):
    """The first choice of each dependency, but those among the packages themselves."""
    out = set()
    for deb in debs:
        text = subprocess.run(["dpkg-deb", "-f", deb, "Depends"], check=True, capture_output=True, text=True).stdout
        out |= {re.split(r"[ (|:]", part.strip())[0] for part in text.split(",") if part.strip()}
    return sorted(out)


def make_root(directory, packages):
    """A minimal root, and in it the packages, by apt; whatever fails has its log in the error."""
    log = directory.with_suffix(".log")
    steps = [["debootstrap", "--variant=minbase", SUITE, str(directory), mirror()],
             ["cp", f"{directory}/var/lib/dpkg/status", f"{directory}{MINIMAL}"],
             ["cp", "-r", "/etc/apt/apt.conf.d/.", f"{directory}/etc/apt/apt.conf.d/"],
             ["chroot", str(directory), "apt-get", "-q", "update"],
             ["chroot", str(directory), "apt-get", "-q", "-y", "--no-install-recommends", "install", *packages],
             ["chroot", str(directory), "apt-get", "clean"],
             ["chroot", str(directory), "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", *AT_HAND]]
    # Mounts are of a namespace of their own: none is left behind, whatever happens.
    script = "set -e; mkdir -p \"$0/proc\"; mount -t proc proc \"$0/proc\"; shift 0; exec \"$@\""
    with open(log, "w", encoding="utf-8") as out:
        for step in steps:
            command = step
            if step[0] == "chroot":
                command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(directory), *step]
            done = subprocess.run(command, check=False, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=os.environ | CLEAN,
                                  timeout=MAKE_SECONDS)
            if done.returncode != 0:
                raise CannotBoot(f"{' '.join(step[:4])}: {' '.join(log.read_text(errors='replace').splitlines()[-3:])}")
    log.unlink()


def cached_root(packages):
    """A root with these packages: nobody writes into it. Made if need be, whole or not at all."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "jami-connd"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = sorted({*ORDINARY, *packages})
    recipe = " ".join([SUITE, os.uname().machine, *wanted, "at hand", *AT_HAND])
    root = cache / f"root-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with open(cache / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once make one
        if not root.is_dir():
            for left in cache.glob("new-*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            fresh = pathlib.Path(tempfile.mkdtemp(prefix="new-", dir=cache)) / "root"
            try:
                make_root(fresh, wanted)
                fresh.rename(root)
            finally:
                shutil.rmtree(fresh.parent, ignore_errors=True)
            for old in cache.glob("root-*"):
                if old != root and time.time() - old.stat().st_mtime > KEPT_DAYS * 86_400:
                    shutil.rmtree(old)
        os.utime(root)
    return root


class Machine:
    """Off until `boot`. What it runs is seen from outside by `run`, which is as a login of root, or of a user, would be."""

    def __init__(self, root, shared):
        """`shared` is a directory that the machine sees as /shared."""
        self.shared = shared
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="conndboot"))
        self.name = re.sub("[^a-z0-9]", "", self.directory.name)
        self.console = self.directory / "console"
        self.container = None
        self.init = None
        # The overlay is in a mount namespace that ends with its keeper, and so with us; what the machine writes is in
        # memory. It is there over a reboot.
        script = ('set -e; mount -t tmpfs -o mode=755 tmpfs "$0"; mkdir "$0/upper" "$0/work" "$0/root"; '
                  'mount -t overlay -o "lowerdir=$1,upperdir=$0/upper,workdir=$0/work" overlay "$0/root"; echo there; exec cat')
        place = self.directory / "place"
        place.mkdir()
        self.root = place / "root"
        self.keeper = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(place), str(root)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "there\n":
            raise CannotBoot(f"no overlay: {self.keeper.communicate()[1].strip()}")

    def close(self):
        if self.container:
            self.power_off()
        self.keeper.stdin.close()
        self.keeper.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def boot(self):
        console = open(self.console, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        self.container = subprocess.Popen(
            ["nsenter", "--target", str(self.keeper.pid), "--mount", "systemd-nspawn", "-q", "--register=no", "--keep-unit",
             "--private-network", f"--machine={self.name}", f"--directory={self.root}", f"--bind-ro={self.shared}:/shared",
             "--console=pipe", "--kill-signal=SIGRTMIN+3", "--boot"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        console.close()
        end = time.monotonic() + BOOT_SECONDS
        while not (self.init or self._find_init()):
            self._still_on(end)
        # An address that is no loopback's: what ICE has to offer.
        self._outside("ip", "link", "add", "lan", "type", "veth", "peer", "name", "lan-peer")
        for link in ("lan-peer", "lan"):
            self._outside("ip", "link", "set", link, "up")
        self._outside("ip", "address", "add", "192.0.2.1/24", "dev", "lan")
        while not (self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip() in ("running", "degraded")):
            self._still_on(end)

    def power_off(self):
        try:
            if self.init:
                os.kill(self.init, signal.SIGRTMIN + 4)  # systemd(1): poweroff
            self.container.wait(BOOT_SECONDS if self.init else 0)
        except ProcessLookupError:
            self.container.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.container.pid, signal.SIGKILL)
            self.container.wait()
        self.container = self.init = None

    def run(self, *command, user=None, check=True, text=None, seconds=RUN_SECONDS):
        """Ends with its output, both streams in `stdout`. With `check` a failure is an AssertionError that has it all."""
        done = subprocess.run(self._command(command, user), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              input=text or "", timeout=seconds)
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}\n{self.journal()}"
        return done

    def start(self, *command, user=None):
        """A process that goes on, with pipes; the caller ends it."""
        return subprocess.Popen(self._command(command, user), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)

    def journal(self):
        shown = subprocess.run(self._command(("journalctl", "--no-pager", "-q", "-n", "60", "-o", "cat"), None), check=False, capture_output=True,
                               text=True, timeout=RUN_SECONDS)
        return shown.stdout

    def _command(self, command, user):
        into = ["nsenter", "--target", str(self.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        environment = CLEAN
        become = []
        if user:
            uid, home = self._who(user)
            become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
            environment = CLEAN | {"HOME": home, "USER": user, "LOGNAME": user, "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
        # The shell's $! and job control are not needed: one program, in a clean environment.
        return [*into, "env", "-i", "--chdir=/", *[f"{name}={value}" for name, value in environment.items()], *become, *command]

    def _who(self, user):
        entry = self.run("getent", "passwd", user).stdout.split(":")
        return entry[2], entry[5]

    def _outside(self, *command):
        """A program of this machine in the network of that one, which need not have it."""
        subprocess.run(["nsenter", "--target", str(self.init), "--net", *command], check=True)

    def _find_init(self):
        """The process that is 1 in there, once it is systemd."""
        pids = [self.container.pid]
        while pids:
            pid = pids.pop()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                if re.search(r"^NSpid:.*\t1$", status, re.MULTILINE) and status.startswith("Name:\tsystemd\n"):
                    self.init = pid
                    return True
                pids += [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
        return False

    def _still_on(self, end):
        """It looks again soon: there is nothing outside that tells."""
        assert self.container.poll() is None and time.monotonic() < end, f"no boot: {self.console.read_text(errors='replace')[-2000:]}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.container.wait(0.05)
