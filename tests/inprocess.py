"""The service and a worker in this process, so that a test can change what its modules think of the world."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn

from app.jobs.lanes import lanes_of
from app.jobs.worker import Worker
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
        app = create_app(ready)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))

        async def serve_and_work() -> None:
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.02)
            resources = app.state.resources
            worker = Worker(resources.database, resources.metrics, lanes_of(resources))
            working = asyncio.create_task(worker.run())
            while not server.should_exit and not serving.done():  # noqa: ASYNC110  # nor for this
                await asyncio.sleep(0.02)
            worker.stop()
            await asyncio.gather(working, serving)

        thread = Thread(target=lambda: asyncio.run(serve_and_work()))
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
