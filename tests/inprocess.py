"""The service in this process, so that a test can change what its modules think of the world."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn

from app.main import create_app
from app.settings import Settings
from app.store import migrate
from app.store.embedded import open_database


@contextmanager
def serving_here(data_dir: Path, **settings: object) -> Iterator[str]:
    """The address of a service with an embedded database of its own."""
    wanted = Settings(_env_file=None, data_dir=data_dir, **settings)  # type: ignore[arg-type, call-arg]  # pydantic-settings' own
    with open_database(wanted) as ready:
        assert ready.database_url is not None
        migrate.upgrade(ready.database_url.get_secret_value())
        server = uvicorn.Server(uvicorn.Config(create_app(ready), port=0, log_config=None))
        thread = Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                time.sleep(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()
