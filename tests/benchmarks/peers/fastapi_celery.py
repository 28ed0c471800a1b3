"""FastAPI that checks the signature and enqueues with Celery, in a thread or (BENCH_INLINE) on the loop itself."""

import json
import os

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from signature import fits
from with_celery import handle

app = FastAPI()
INLINE = bool(os.environ.get("BENCH_INLINE"))


@app.post("/in/{source}")
async def receive(source: str, request: Request):
    """Check, enqueue, answer."""
    body = await request.body()
    if not fits(request.headers.get("x-zoho-webhook-signature", ""), request.query_params.items(), body):
        raise HTTPException(401)
    data = json.loads(body)
    sent = handle.delay(source, data) if INLINE else await run_in_threadpool(handle.delay, source, data)
    return {"id": sent.id}
