"""The verb `serve`: a page to find moments in."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

from typer import Option

from toomuchtv.cli.index import Index
from toomuchtv.cli.options import Json, verb_output


def serve(
    index: Index,
    *,
    host: Annotated[
        str,
        Option(help="Address to listen on. Beyond this machine (0.0.0.0) it needs --token."),
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8765,
    catalog: Annotated[
        Path | None, Option("--catalog", help="Folder of the catalog, if it has moved.")
    ] = None,
    token: Annotated[
        str | None,
        Option(
            help="What every request must carry, of at least 16 characters; 'new' makes one and "
            "prints it. Default: the environment variable TOOMUCHTV_TOKEN, or none."
        ),
    ] = None,
    public_host: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Another name of the server, such as that of a reverse proxy. Repeatable.",
        ),
    ] = None,
    max_upload_mb: Annotated[
        float, Option(min=0.001, max=100_000, help="Size of one file to search with, in MB.")
    ] = 200.0,
    as_json: Json = False,
) -> None:
    """Open a page in which you find moments: http://127.0.0.1:8765 in a browser of this machine.

    The page searches, plays and exports. The library is only read. Items that `embed` adds appear
    without a restart. Ctrl-C ends the server.

    For example:

        toomuchtv serve idx
        toomuchtv serve idx --host 0.0.0.0 --token new
    """
    with verb_output(as_json=as_json) as output:
        try:
            import fastapi
            import uvicorn
        except ImportError as error:
            raise ValueError(
                f"the page needs the packages of the extra `search` ({error}): run "
                "`pip install 'toomuchtv[search]'`"
            ) from error
        del fastapi, uvicorn
        from toomuchtv.server.app import create_app
        from toomuchtv.server.running import listen
        from toomuchtv.server.running import serve as run
        from toomuchtv.server.security import Policy, token_from

        is_new = token == "new"
        secret = secrets.token_urlsafe(24) if is_new else token_from(token)
        # Refuse before the index is opened, which takes a while.
        Policy(host=host, port=port, public_hosts=public_host or (), token=secret)
        bound = listen(host, port)
        with bound:
            bound_port = bound.getsockname()[1]
            policy = Policy(
                host=host, port=bound_port, public_hosts=public_host or (), token=secret
            )
            app = create_app(
                index,
                catalog=catalog,
                policy=policy,
                max_upload_bytes=round(max_upload_mb * 1e6),
            )
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            url = f"http://{f'[{shown}]' if ':' in shown else shown}:{bound_port}/"

            def tell() -> None:
                signed = f"{url}?token={secret}" if is_new else url
                output.info(f"Open {signed} in a browser. Ctrl-C ends the server.")
                if secret is not None and not is_new:
                    output.info("Add ?token= and the token at the first visit.")
                output.print_json({"url": signed, "port": bound_port})
                output.flush()

            for problem in app.state.server.library.problems:
                output.warning(problem)
            run(app, bound, on_start=tell, on_late_end=app.state.server.delete_files)
            output.info("The server has ended.")
