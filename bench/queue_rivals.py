"""arq and RQ on the same Redis server: enqueues and runs a second, as JSON lines. Usage: queue_rivals.py PORT COUNT"""
import asyncio
import json
import sys
import time

import arq
import arq.connections
import arq.worker
import redis
import rq

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])


def tell(name, count, began):
    print(json.dumps({"name": name, "value": count / (time.perf_counter() - began), "unit": "1/s"}), flush=True)


async def nothing(_context):
    return None


def nothing_at_all():
    return None


async def with_arq():
    settings = arq.connections.RedisSettings(host="127.0.0.1", port=PORT)
    pool = await arq.create_pool(settings)
    began = time.perf_counter()
    for _ in range(COUNT):
        await pool.enqueue_job("nothing")
    tell(f"arq {arq.version.VERSION}: enqueue", COUNT, began)
    worker = arq.worker.Worker([nothing], redis_settings=settings, burst=True, max_jobs=100, poll_delay=0.01,
                               handle_signals=False, keep_result=0)
    began = time.perf_counter()
    await worker.async_run()
    tell(f"arq {arq.version.VERSION}: run", worker.jobs_complete, began)
    await worker.close()


def with_rq():
    connection = redis.Redis(host="127.0.0.1", port=PORT)
    queue = rq.Queue(connection=connection)
    began = time.perf_counter()
    for _ in range(COUNT):
        queue.enqueue(nothing_at_all)
    tell(f"RQ {rq.VERSION}: enqueue", COUNT, began)
    count = min(COUNT, 500)  # It takes milliseconds a job.
    worker = rq.SimpleWorker([queue], connection=connection)
    began = time.perf_counter()
    worker.work(burst=True, max_jobs=count, logging_level="ERROR")
    tell(f"RQ {rq.VERSION}: run", count, began)


if __name__ == "__main__":
    # RQ imports the function by its module's name.
    sys.modules["queue_rivals"] = sys.modules["__main__"]
    nothing_at_all.__module__ = "queue_rivals"
    asyncio.run(with_arq())
    redis.Redis(host="127.0.0.1", port=PORT).flushall()
    with_rq()
