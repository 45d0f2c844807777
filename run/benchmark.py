"""Compares many configs: python run/benchmark.py CONFIG|FOLDER ... [--repeat N] [key value ...]"""

import sys

from graphgps_ext.commands import main

if __name__ == '__main__':
    sys.exit(main(['benchmark', *sys.argv[1:]]))
