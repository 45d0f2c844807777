#!/usr/bin/env bash
# Both stages of Spexphormer on the embedded Minesweeper grid: needs no data and no GPU.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
make_environment || exit 1

start=$SECONDS
echo '== stage 1: the attention score estimator =='
.venv/bin/python run/main.py --cfg configs/Spexphormer/minesweeper-grid-estimator.yaml "$@"
echo '== stage 2: Spexphormer on sampled neighbours =='
.venv/bin/python run/main.py --cfg configs/Spexphormer/minesweeper-grid-spexphormer.yaml "$@"
echo "both stages took $((SECONDS - start)) s"
echo 'to compare the runs: .venv/bin/tensorboard --logdir results   and open http://localhost:6006'
