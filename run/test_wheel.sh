#!/usr/bin/env bash
# Builds sdist and wheel, installs the wheel outside the checkout, and runs both stages of the grid by name.
# The dependencies are those of .venv, or of the Python given as the first argument.
set -euo pipefail
cd "$(dirname "$0")/.."
python="$(realpath -s "${1:-.venv/bin/python}")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/elsewhere"

git ls-files -z | tar -c --null --ignore-failed-read -T - | tar -x -C "$work/source"  # nothing of older builds
(cd "$work/source" && "$python" -c "from setuptools.build_meta import build_sdist; build_sdist('$work')" > /dev/null)
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --no-index -w "$work" "$work"/graphgps_ext-*.tar.gz

"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --quiet --python "$work/venv/bin/python" install --no-deps --no-index "$work"/*.whl
# A path in a .pth file gives the packages there, but not what their own .pth files link to: the checkout.
dependencies="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
echo "$dependencies" > "$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"

configs="$(git ls-files 'configs/*.yaml' | wc -l)"
unset PYTHONPATH
cd "$work/elsewhere"
"$work/venv/bin/python" - "$work/venv" "$configs" << 'CHECK'
import sys
from importlib.metadata import version
from pathlib import Path

import graphgps_ext
from graphgps_ext.config.shipped import SHIPPED

venv, configs = Path(sys.argv[1]), int(sys.argv[2])
found = len([*SHIPPED.rglob('*.yaml')])
assert Path(graphgps_ext.__file__).is_relative_to(venv), graphgps_ext.__file__
assert SHIPPED.is_relative_to(venv) and found == configs, f'{found} of {configs} configs in {SHIPPED}'
assert version('graphgps_ext') == graphgps_ext.__version__
CHECK
small=(dataset.grid_side 16 optim.max_epoch 2 optim.num_warmup_epochs 1 train.eval_period 1 gt.attention_impl torch)
for stage in estimator spexphormer; do
  "$work/venv/bin/graphgps-ext" train --cfg "Spexphormer/minesweeper-grid-$stage" "${small[@]}"
done
test -f results/minesweeper-grid-spexphormer/0/summary.json
echo 'the wheel trains'
