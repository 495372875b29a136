"""What pages of this machine share: one HTML file, errors as JSON, pictures, a server that says why not."""

import io
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response

import limner
from limner.data.intake import open_picture
from limner.errors import ConfigError, LimnerError

_PAGES = Path(__file__).with_name("page")


def local_app(name: str) -> FastAPI:
    """A web application with its page at `/`; what a user can act on comes as {"error": …}, status 400.

    Args:
        name: of the verb and of the page's file.
    """
    app = FastAPI(title=f"limner {name}", version=limner.__version__, openapi_url=None)

    @app.exception_handler(LimnerError)
    def refused(_request: Any, error: LimnerError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=400)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        text = _read(f"{name}.html")
        for mark, file in (("/* local.css */\n", "local.css"), ("// local.js\n", "local.js")):
            text = text.replace(mark, _read(file))
        return text

    return app


def _read(file: str) -> str:
    return (_PAGES / file).read_text(encoding="utf-8")


def as_png(data: bytes) -> Response:
    """A picture, upright, of a kind that all browsers know.

    Raises: PictureError when it cannot be read.
    """
    buffer = io.BytesIO()
    open_picture(data).image.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "max-age=3600"})


def local_server(app: FastAPI, host: str, port: int) -> uvicorn.Server:
    """A server that has not begun; `should_exit` ends it."""
    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))


def run_server(server: uvicorn.Server) -> None:
    """Serve until it is told to end.

    Raises: ConfigError when the port cannot be opened; KeyboardInterrupt after Ctrl-C.
    """
    host, port = server.config.host, server.config.port
    try:
        server.run()
    except SystemExit as error:
        raise ConfigError(
            f"{host}:{port} cannot be opened", wanted="a free port of this machine", hint=f"--port {port + 1}"
        ) from error
