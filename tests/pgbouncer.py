"""A real PgBouncer in transaction mode before a PostgreSQL, with fewer connections than its clients have."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from app.measure.s3_server import free_ports

SERVER_CONNECTIONS = 3
_START_S = 120.0


@dataclass(frozen=True)
class PgBouncer:
    url: str
    """As DATABASE_URL takes it."""
    log_path: Path

    def show(self, what: str) -> list[dict[str, Any]]:
        """A table of its own about itself."""
        # Its console knows the simple protocol only, without transactions.
        console = self.url.removesuffix("/postgres") + "/pgbouncer"
        with psycopg.connect(console, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(f"SHOW {what}".encode()).fetchall()


def program() -> str:
    """Where it is; tests skip where it is not, but not on the machine that decides about a change."""
    # Debian keeps it where ordinary users don't look.
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is not installed (Debian and Ubuntu: apt install pgbouncer)")
        pytest.skip("pgbouncer is not installed (Debian and Ubuntu: apt install pgbouncer)")
    return found


@contextmanager
def pgbouncer(database_url: str, folder: Path) -> Iterator[PgBouncer]:
    """One before the embedded server at `database_url`."""
    found = program()
    [port] = free_ports(1)
    [server] = parse_qs(urlsplit(database_url).query)["host"]
    folder.mkdir()
    log_path = folder / "pgbouncer.log"
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = postgres
pool_mode = transaction
default_pool_size = {SERVER_CONNECTIONS}
max_client_conn = 200
"""
    )
    with log_path.open("wb") as log:
        process = _started([found, str(settings)], Path(server), folder, log.fileno())
    bouncer = PgBouncer(f"postgresql://postgres@127.0.0.1:{port}/postgres", log_path)
    try:
        _wait(bouncer, process)
        yield bouncer
    finally:
        process.send_signal(signal.SIGTERM)  # at once
        process.wait(_START_S)


def _started(command: list[str], server: Path, folder: Path, log: int) -> "subprocess.Popen[bytes]":
    """It refuses to run as root, as PostgreSQL does, and has to be who PostgreSQL is to enter its folder."""
    owner = server.stat().st_uid
    as_other = os.geteuid() == 0 and owner != 0
    if as_other:
        os.chown(folder, owner, -1)
    elif os.geteuid() == 0:
        command = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--", *command]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=owner if as_other else None
    )


def _wait(bouncer: PgBouncer, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg.connect(bouncer.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(bouncer.log_path.read_text())
