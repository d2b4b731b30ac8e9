"""`toomuchtv` and `python -m toomuchtv`: the command line."""

from __future__ import annotations

from toomuchtv._internal.interrupts import exit_on_signals, ignore_signals


def main() -> None:
    """Run the command line. Signals are handled before anything else is imported."""
    exit_on_signals()
    from toomuchtv.cli import main as run

    try:
        run()
    finally:
        # The exit code is decided. Python takes up to a second to end.
        ignore_signals()


if __name__ == "__main__":
    main()
