"""`kusciajob` and `python -m kusciajob`: the command line, where what it needs is installed."""

import sys


def main() -> None:
    """Run the command that was typed. Ends with a line that says what to install where only the client library is."""
    try:
        from kusciajob.cli.main import main as run  # noqa: PLC0415  # the client library does without what it needs
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kusciajob"):
            raise
        sys.exit(
            f"kusciajob: {error.name} is not installed: the client library does without, the server and the command "
            "line do not: pip install 'kusciajob[server]'"
        )
    run()


if __name__ == "__main__":
    main()
