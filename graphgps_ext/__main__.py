"""`python -m graphgps_ext`, which is `graphgps-ext`."""

import sys

from graphgps_ext.commands import main

if __name__ == '__main__':
    sys.exit(main())
