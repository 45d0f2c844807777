"""What the attention looks at, from scores to a report with figures: python run/analyze.py FOLDER"""

import sys

from graphgps_ext.commands import main

if __name__ == '__main__':
    sys.exit(main(['analyze', *sys.argv[1:]]))
