"""Damages what runs read and write, kills them, and counts what becomes of it.

    python run/fault_campaign.py --n 2000 --kills 100       the large campaign: below an hour on two cores
    python run/fault_campaign.py --only scores --n 200      one kind, or --only 'scores/swapped layers'
    python run/fault_campaign.py --case 'scores/swapped layers:17'    one case again

A fault has to end in a clear error, or in the result without it; see docs/reliability.md. Results are added
to <out>/cases.jsonl, and the same command goes on where it stopped; a change of the code (its Git revision)
begins anew. Places of bad cases are kept below <out>/places. The exit status is 0 if there is no bad case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / 'tests')]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--n', type=int, default=200, help='number of faults (200)')
    add('--kills', type=int, default=0, help='number of kills (0)')
    add('--jobs', type=int, default=2, help='cases side by side (2)')
    add('--seed', type=int, default=0, help='another one has other cases (0)')
    add('--out', type=Path, default=Path('results/faults'), help='folder (results/faults)')
    add('--only', default='', metavar='KIND[/NAME]', help='one kind of faults')
    add('--case', default='', metavar='KIND/NAME:SEED', help='one case, whether or not it was tried before')
    add('--write', type=Path, metavar='PAGE', help='puts the table between the marks of a page')
    args = parser.parse_args()

    from faults import campaign

    chosen = [args.case] if args.case else campaign.chosen_cases(args.n, args.kills, args.seed, args.only)
    revision = f'once {time.time_ns()}' if args.case else ''
    start, records = time.monotonic(), []
    for record in campaign.run_cases(chosen, args.out, jobs=args.jobs, revision=revision):
        records.append(record)
        if record in campaign.bad([record]) or args.case:
            print(f'{record["outcome"]}: {record["case"]}: {record["told"]}')
            print(f'    {record["said"]}', flush=True)
        elif sys.stderr.isatty():
            print(f'\r{len(records)}/{len(chosen)}', end='', file=sys.stderr, flush=True)
    print(f'\n{campaign.table(records).to_string()}')
    names = Counter((r['outcome'], r['case'].rpartition(':')[0]) for r in campaign.bad(records))
    for (outcome, name), count in sorted(names.items()):
        print(f'{outcome:14} {count:4}  {name}')
    if args.write:
        minutes = sum(r['seconds'] for r in records) / args.jobs / 60
        campaign.write_block(args.write, campaign.markdown(records, args.seed, minutes))
    print(f'{time.monotonic() - start:.0f} s')
    return int(bool(campaign.bad(records)))


if __name__ == '__main__':
    sys.exit(main())
