"""FastAPI that checks the signature and enqueues with arq."""

import json
import os
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI, HTTPException, Request
from signature import fits


@asynccontextmanager
async def lifespan(app):
    """One pool for the process."""
    app.state.arq = await create_pool(RedisSettings.from_dsn(os.environ["BENCH_REDIS"]))
    yield
    await app.state.arq.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/in/{source}")
async def receive(source: str, request: Request):
    """Check, enqueue, answer."""
    body = await request.body()
    if not fits(request.headers.get("x-zoho-webhook-signature", ""), request.query_params.items(), body):
        raise HTTPException(401)
    job = await app.state.arq.enqueue_job("handle", source, json.loads(body))
    return {"id": job.job_id}
