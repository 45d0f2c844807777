"""Searches settings by the validation metric: python run/tune.py --cfg FILE --space FILE [key value ...]"""

import sys

from graphgps_ext.commands import main

if __name__ == '__main__':
    sys.exit(main(['tune', *sys.argv[1:]]))
