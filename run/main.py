"""Trains the models of one config: python run/main.py --cfg FILE [--repeat N] [key value ...]"""

import sys

from graphgps_ext.commands import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
