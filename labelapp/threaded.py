"""Django under ASGI with all its code in threads: a request goes into one, is answered there, and comes back.

Every view and every middleware of this application is synchronous. Django's own handler gives each request a thread of
its own and goes to and fro several times, which costs more than most of our pages.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class ThreadedHandler(ASGIHandler):
    """Serves requests on a few threads that stay; the rest wait in line. Streams are sent from the event loop."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    def load_middleware(self, is_async: bool = False) -> None:
        """Put the middleware together for threads, whatever is asked for."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        run = asyncio.get_running_loop().run_in_executor
        response = await run(self._threads, self._answer, scope, body)
        if not response.streaming:
            await self.send_response(response, send)
            return
        sending = asyncio.create_task(self.send_response(response, send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            ended = await asyncio.gather(sending, leaving, return_exceptions=True)
            await run(self._threads, response.close)
        if isinstance(ended[0], Exception):
            raise ended[0]

    def _answer(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        """Run the request in this thread, and all that ends it but for what is streamed."""
        try:
            set_script_prefix(get_script_prefix(scope))
            signals.request_started.send(sender=self.__class__, scope=scope)
            request, refusal = self.create_request(scope, body)
            answer = self.get_response(request) if request is not None else refusal
            response = cast("HttpResponseBase", answer)
            response._handler_class = self.__class__  # type: ignore[attr-defined]
            if response.streaming:
                close_old_connections()
            else:
                response.close()
            return response
        finally:
            body.close()
