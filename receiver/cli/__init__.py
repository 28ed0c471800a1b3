"""The command `zohook`: reading arguments and starting things; what they do is in the other rooms."""

from __future__ import annotations

import sys

from receiver.errors import HandlerError, SettingsError, ZohookError

WRONG = 2
FAILED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command line. What is wrong with the settings or the handlers is one message and status 2, never a traceback."""
    try:
        from receiver.cli.commands import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (SettingsError, HandlerError) as error:
        _say(error)
        sys.exit(WRONG)
    except ZohookError as error:
        _say(error)
        sys.exit(FAILED)


def _say(error: ZohookError) -> None:
    from receiver.logs import mask

    sys.stderr.write(f"zohook: {mask(str(error)).strip()}\n")
