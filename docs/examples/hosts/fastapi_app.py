"""A FastAPI service whose client lives as long as the service.

uvicorn fastapi_app:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from omi_async import AsyncOmiClient, Conversation, NotFoundError, OmiError


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, AsyncOmiClient]]:
    async with AsyncOmiClient() as omi:
        yield {"omi": omi}


def client(request: Request) -> AsyncOmiClient:
    omi: AsyncOmiClient = request.state.omi
    return omi


app = FastAPI(lifespan=lifespan)
Omi = Annotated[AsyncOmiClient, Depends(client)]


@app.get("/conversations/{conversation_id}")
async def read(conversation_id: str, omi: Omi) -> Conversation:
    return await omi.conversations.get(conversation_id)


@app.patch("/conversations/{conversation_id}")
async def rename(conversation_id: str, title: Annotated[str, Body(embed=True)], omi: Omi) -> dict[str, str]:
    conversation = await omi.conversations.update(conversation_id, title=title)
    return {"id": conversation.id, "title": conversation.structured.title}


@app.exception_handler(OmiError)
async def failed(_: Request, error: OmiError) -> JSONResponse:
    status = 404 if isinstance(error, NotFoundError) else 502
    return JSONResponse({"error": error.text, "outcome": error.outcome}, status)
