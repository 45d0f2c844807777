#!/usr/bin/env bash
# Both stages of Spexphormer on the embedded Minesweeper grid: needs no data and no GPU.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
make_environment || exit 1

# A larger grid than the configs have, and a folder of its own beside the results of the configs as they are.
size=(dataset.grid_side 100 out_dir results/demo)
start=$SECONDS
echo '== stage 1: the attention score estimator =='
.venv/bin/python run/main.py --cfg configs/Spexphormer/minesweeper-grid-estimator.yaml "${size[@]}" "$@"
echo '== stage 2: Spexphormer on sampled neighbours =='
.venv/bin/python run/main.py --cfg configs/Spexphormer/minesweeper-grid-spexphormer.yaml "${size[@]}" "$@"
echo "both stages took $((SECONDS - start)) s"
echo 'to compare the runs: .venv/bin/tensorboard --logdir results   and open http://localhost:6006'
