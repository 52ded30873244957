"""``python -m automm_distill.cache``, and the command ``automm-distill-cache``."""

import sys

from automm_distill.startup import start


def main(argv: list[str] | None = None) -> int:
    """See :mod:`automm_distill.cache.command`."""
    start("python -m automm_distill.cache")
    from automm_distill.cache import command

    return command.main(argv)


if __name__ == "__main__":
    sys.exit(main())
