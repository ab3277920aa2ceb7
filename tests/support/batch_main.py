"""A worker process that claims all that waits of a workflow into one run, and knows the probe."""

import asyncio

from deployments.carrying import Carrier
from deployments.settings import Settings
from deployments.worker import main
from persistence.queue import claim_run
from tests.support.worker_main import ProbeWorker


class BatchWorker(ProbeWorker):
    type = "tenantry-batch"

    def _start_loops(self, settings: Settings, carrier: Carrier) -> None:
        super()._start_loops(settings, carrier)
        self._loops[0].cancel()  # the one that claims
        self._loops.append(asyncio.create_task(take_batches(carrier)))


async def take_batches(carrier: Carrier) -> None:
    starting: set[asyncio.Task[None]] = set()
    while True:
        with carrier.runtime.database.for_platform() as session:
            claimed = claim_run(session, worker=carrier.worker, lease_s=carrier.lease_s, size=50)
        if claimed is not None:
            starting.add(asyncio.create_task(carrier.start(claimed)))
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    main(BatchWorker)
