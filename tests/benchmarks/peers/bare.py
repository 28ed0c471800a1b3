"""A bare Starlette route that only reads the body: what the server allows."""

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


async def receive(request):
    """Read and answer."""
    await request.body()
    return Response(b"{}", 200, {"content-type": "application/json"})


app = Starlette(routes=[Route("/in/{source}", receive, methods=["POST"])])
