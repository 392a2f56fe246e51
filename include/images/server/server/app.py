"""The HTTP side: /healthz, /modelz and /embed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from threading import Thread
from typing import TYPE_CHECKING, Annotated

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from server.drain import LastAnswers
from server.snapshot import NotServableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.serving import Serving

_MAX_TEXT = 16_384
"""Characters; the model itself reads 256 tokens and no more."""

_MAX_THREADS = 4
"""Requests computed at once; each takes a core and, at 256 tokens, 14 MB."""


class EmbedRequest(BaseModel):
    """What /embed is asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_MAX_TEXT)]


class Embedding(BaseModel):
    """What /embed answers; the revision says which model's vector space this is."""

    revision: str
    dimensions: int
    embedding: list[float]


class ModelReport(BaseModel):
    """What /modelz answers: Modelberth compares it with what was approved."""

    path: str
    revision: str
    snapshot: str


def create_app(serving: Serving, model_path: str) -> FastAPI:
    """Return the application that loads *model_path* into *serving* when it starts, and answers from there."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _MAX_THREADS
        # A daemon: loading must not hold up a shutdown.
        Thread(target=serving.load, args=(model_path,), name="load", daemon=True).start()
        yield

    app = FastAPI(title="Reference server", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(LastAnswers, serving=serving)
    app.add_exception_handler(NotServableError, _unavailable)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(400, _unprocessable)  # FastAPI's answer to a body that is not UTF-8

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        reason = serving.unready
        return JSONResponse({"ready": True}) if reason is None else _not_ready(reason)

    @app.get("/modelz")
    async def modelz() -> ModelReport:
        snapshot = serving.loaded.snapshot
        return ModelReport(path=str(snapshot.path), revision=snapshot.revision, snapshot=snapshot.name)

    @app.post("/embed")
    def embed(request: EmbedRequest) -> Embedding:
        loaded = serving.loaded
        vector = loaded.encoder.embed(request.text)
        return Embedding(revision=loaded.snapshot.revision, dimensions=len(vector), embedding=vector.tolist())

    return app


def _not_ready(reason: str) -> JSONResponse:
    return JSONResponse({"ready": False, "reason": reason}, status_code=503)


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    return _not_ready(str(error))


async def _unprocessable(_: Request, error: Exception) -> JSONResponse:
    """Answer 422 without the input, which FastAPI would repeat: it may be long, and not even encodable."""
    unreadable = {"loc": ("body",), "msg": "Not JSON in UTF-8"}
    problems = error.errors() if isinstance(error, RequestValidationError) else [unreadable]
    detail = [{"where": [str(part) for part in problem["loc"]], "problem": problem["msg"]} for problem in problems]
    return JSONResponse({"detail": detail}, status_code=422)
