"""Entry point: ``python -m optiscale.run``, the same as ``optiscale``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; what the user did wrong is one line and exit status 2."""
    from optiscale.cli.app import app
    from optiscale.errors import UserError

    sys.path.insert(0, "")  # a study may name a user's own module in the current folder
    try:
        app(prog_name="optiscale")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        remedy = "mend it, or name another folder with --out (results) or $OPTISCALE_CACHE (data sets)"
        print(f"error: {error.filename}: {error.strerror}; {remedy}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
