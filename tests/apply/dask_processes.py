"""The processes of a dask cluster; a module of its own so that they need not load what the tests do."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection


def schedule(tell: Connection) -> None:
    """A scheduler, which tells its address."""
    from distributed import Scheduler

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            tell.send(scheduler.address)
            await scheduler.finished()

    asyncio.run(serve())


def work(address: str, tell: Connection) -> None:
    """A worker of one thread, which tells when it is ready."""
    from distributed import Worker

    async def serve() -> None:
        async with Worker(address, nthreads=1, host="127.0.0.1", dashboard=False) as worker:
            tell.send("ready")
            await worker.finished()

    asyncio.run(serve())
