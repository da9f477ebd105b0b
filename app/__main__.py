"""The command line: serve, worker, album, models, keys, export, import, bench, evaluate."""

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app import __version__


def main() -> int:
    """Run one command; the exit status is 0 when it did what it was asked."""
    parser = argparse.ArgumentParser(prog="python -m app", description="svc-face-recon")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    commands.add_parser("serve", help="start the service; settings come from the environment and .env")

    worker = commands.add_parser("worker", help="index photos and rebuild collections, on any machine")
    worker.add_argument(
        "--with-parent",
        action="store_true",
        help="take the settings from standard input, and stop when it ends",
    )

    album = commands.add_parser(
        "album", help="have a running service index an album, and watch how far it is"
    )
    actions = album.add_subparsers(dest="action", required=True)
    process = actions.add_parser("process", help="list the album's source and index what is new or changed")
    process.add_argument("album_id")
    process.add_argument(
        "--source", help="makes the album if need be: s3://bucket/prefix, supabase:prefix, /folder"
    )
    process.add_argument("--watch", action="store_true", help="go on, and index what comes, until Ctrl-C")
    status = actions.add_parser("status", help="how far an album is")
    status.add_argument("album_id")
    for action in (process, status):
        action.add_argument("--url", help="of the service; by default HOST and PORT")
        action.add_argument("--key", help="ID:SECRET; by default the bootstrap key")

    config = commands.add_parser("config", help="the settings in effect, and where each comes from")
    config.add_argument("--json", action="store_true", help="as JSON")

    models = commands.add_parser("models", help="model packs: list, install, verify")
    actions = models.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="the packs, their licences, and which are installed")
    install = actions.add_parser("install", help="download, check and unpack a pack")
    install.add_argument("name")
    install.add_argument(
        "--accept-license", action="store_true", help="accept the pack's licence, where it asks for that"
    )
    install.add_argument("--url", help="a mirror of where packs are published, instead of MODEL_URL")
    verify = actions.add_parser("verify", help="compare the files of a pack with the published hashes")
    verify.add_argument("name", nargs="?", help="the pack; without it, MODEL_PACK")

    keys = commands.add_parser("keys", help="access keys: create, list, revoke")
    actions = keys.add_subparsers(dest="action", required=True)
    actions.add_parser("master", help="make a KEYS_MASTER_KEY, which encrypts the secrets at rest")
    actions.add_parser("list", help="all keys, without their secrets")
    create = actions.add_parser("create", help="make a key and show its secret once")
    create.add_argument("--account", help="12 digits; ACCOUNT_ID by default")
    create.add_argument("--role", choices=["read", "write", "admin"], default="read")
    create.add_argument("--collections", default="*", help="ids it may see, comma-separated, * for anything")
    revoke = actions.add_parser("revoke", help="take a key's rights away")
    revoke.add_argument("access_key_id")

    export = commands.add_parser("export", help="write a collection to an encrypted file")
    export.add_argument("collection")
    export.add_argument("--out", type=Path, required=True, help="the file; it must not be there yet")
    load = commands.add_parser("import", help="store the collection of an exported file")
    load.add_argument("file", type=Path)
    load.add_argument("--as", dest="as_id", help="the collection's id here, instead of the one it had")
    for transfer in (export, load):
        transfer.add_argument("--account", help="12 digits; ACCOUNT_ID by default")
        transfer.add_argument("--passphrase-file", type=Path, help="instead of EXPORT_PASSPHRASE or a prompt")

    bench = commands.add_parser("bench", help="measure speed and memory")
    bench.add_argument("--data", type=Path, help="a folder of photos; else those of installed packages")
    bench.add_argument("--out", type=Path, default=Path("build/bench.json"))
    bench.add_argument(
        "--search", type=_sizes, default=(), help="only searches, among so many made-up faces: 10000,100000"
    )

    evaluate = commands.add_parser("evaluate", help="measure accuracy on labelled faces")
    evaluate.add_argument(
        "--data", type=Path, required=True, help="a folder with a folder of photos for each person"
    )
    evaluate.add_argument(
        "--out", type=Path, default=Path("build/evaluate.json"), help="a page, .html, is written beside it"
    )
    evaluate.add_argument(
        "--fit",
        action="store_true",
        help="fit the Similarity curve, and the spread of made-up people, and write them",
    )
    evaluate.add_argument("--no-photos", action="store_true", help="no faces in the page")

    arguments = parser.parse_args()
    # Imported when chosen: `models list` should not load an inference runtime.
    if arguments.command == "serve":
        with _for_good():
            from app.serve import serve

        return serve()
    if arguments.command == "worker":
        with _for_good():
            from app.worker_command import work

        return work(with_parent=arguments.with_parent)
    if arguments.command == "album":
        from app.album_command import run as run_album

        return run_album(arguments)
    if arguments.command == "config":
        from app.config_command import run as run_config

        return run_config(as_json=arguments.json)
    if arguments.command == "models":
        from app.models_command import run

        return run(arguments)
    if arguments.command == "keys":
        from app.keys_command import run as run_keys

        return run_keys(arguments)
    if arguments.command in ("export", "import"):
        from app.transfer_command import run as run_transfer

        return run_transfer(arguments)
    if arguments.command == "bench":
        # As where it serves.
        with _for_good():
            from app.measure.bench import bench as run_bench

        return run_bench(arguments.data, arguments.out, arguments.search)
    from app.measure.evaluate import Options
    from app.measure.evaluate import evaluate as run_evaluation

    options = Options(fit_curve=arguments.fit, photos=not arguments.no_photos)
    return run_evaluation(arguments.data, arguments.out, options)


@contextmanager
def _for_good() -> Iterator[None]:
    """Nobody looks for garbage among what is imported, neither now, a seventh of that time, nor later."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _sizes(value: str) -> tuple[int, ...]:
    """Numbers of faces, comma-separated."""
    sizes = tuple(int(part) for part in value.split(","))
    if min(sizes) < 1:
        raise ValueError("a collection to search has a face or more")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
