#!/usr/bin/env bash
# The runs behind the accuracies in the README. Takes about six minutes.
#   scripts/measure_defaults.sh DATA_ROOT [OUT_DIR]
set -euo pipefail
root=$(realpath "$1")
export OMP_NUM_THREADS=1   # matrix products round differently with more
cd "${2:-.}"
snnrun -m dataset=digits method=activation,timing,hybrid seed=0,1,2,3,4 experiment_name=readme_digits logger=none
snnrun -m dataset=nmnist dataset.root="$root" trainer.epochs=5 seed=0,1,2 experiment_name=readme_nmnist logger=none
snnrun dataset=mnist dataset.root="$root" dataset.limit_train=10000 trainer.epochs=2 experiment_name=readme_mnist logger=none
