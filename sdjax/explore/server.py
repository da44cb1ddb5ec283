"""The server of the page: on this machine, and for this machine alone."""

import os
import tempfile
from pathlib import Path

from sdjax.errors import InputError
from sdjax.explore.explorer import Explorer
from sdjax.terminal import show

LOCAL = "127.0.0.1"
# A browser that obeys it asks no other host for anything, whatever a page names.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:;"
    " form-action 'self'; frame-ancestors 'self'; base-uri 'self'"
)


class OwnHostOnly:
    """Add the policy to every answer (an ASGI middleware)."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_policy(message):
            if message["type"] == "http.response.start":
                header = b"content-security-policy", POLICY.encode()
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await self.app(scope, receive, with_policy if scope["type"] == "http" else send)


def serve(
    explorer: Explorer,
    *,
    unit: int | None = None,
    host: str = LOCAL,
    port: int = 7860,
    open_browser: bool = False,
    wait: bool = True,
):
    """Serve the page until it is interrupted.

    Args:
        explorer: the model.
        unit: to begin with; None for the first one.
        host: to listen on. On any but this machine's own, everyone who reaches it can
            use the model.
        port: to listen on; 0 for any that is free.
        open_browser: open the page, too.
        wait: until Ctrl-C; else return at once.

    Returns:
        Without `wait` Gradio's `Blocks`, whose `local_url` it is and which `close`
        ends.

    Raises:
        InputError: Gradio is not installed, or the port is taken.
    """
    # Before Gradio is imported: it reads them once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    files = tempfile.TemporaryDirectory(prefix="sdjax-explore-")
    os.environ["GRADIO_TEMP_DIR"] = files.name
    try:
        import gradio
    except ImportError as error:
        raise InputError(
            f"sdjax explore needs Gradio ({error}): pip install 'sdjax[explore]'"
        ) from error
    from starlette.middleware import Middleware

    from sdjax.explore import page

    blocks = page.build(explorer, Path(files.name), unit)
    # Gradio names fonts of its own host's; these are the machine's.
    fonts = (
        ["system-ui", "sans-serif"],
        ["ui-monospace", "DejaVu Sans Mono", "monospace"],
    )
    theme = gradio.themes.Base(
        primary_hue="sky", font=fonts[0], font_mono=fonts[1], radius_size="sm"
    )
    try:
        blocks.launch(
            server_name=host,
            server_port=port or None,
            theme=theme,
            css=page.CSS,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            footer_links=[],
            quiet=True,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            app_kwargs={"middleware": [Middleware(OwnHostOnly)]},
            max_file_size="50mb",
        )
    except OSError as error:
        raise InputError(
            f"--port {port} on {host} cannot be used ({error}): give another, or 0"
        ) from error
    blocks.files = files  # removed with it
    if not wait:
        return blocks
    show(f"{blocks.local_url} (Ctrl-C ends it)", flush=True)
    try:
        blocks.block_thread()
    finally:
        blocks.close(verbose=False)
        files.cleanup()
