"""`make torture`: see torture.long."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
django.setup()

from torture.long import main  # noqa: E402 it needs the settings

if __name__ == "__main__":
    sys.exit(main())
