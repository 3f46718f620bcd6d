#!/usr/bin/env bash
# What wants a GPU, on any machine with CUDA torch, even one without a network that is lent for a few minutes.
#
#   python scripts/gpu_wheels.py             where there is a network: what such a machine lacks, in _build/wheels
#   DRY=1 make gpu                           anywhere, first: a few steps of everything
#   MINUTES=9 OUT=results make gpu           there: the benchmarks one by one, then the tests and all RECIPES at once
#   CHAPTERS=notebooks/*.ipynb MINUTES=5 OUT=results make gpu     there: the chapters at full scale, at once
#
# RECIPES are names with steps, so many that together they finish in time; a recipe that doesn't goes on in the next
# call. On an H200, twelve processes at once, the instrument made 20 steps a second, chorales 36, nottingham 46 and the
# renderer 13; chapters took one to four minutes. Everything is kept in KEEP. OUT gets at most four files of 15 MB:
# cat gpu.tar.gz.* | tar xz
set -uo pipefail
cd "$(dirname "$0")/.."
DRY=${DRY:-} MINUTES=${MINUTES:-9} PYTHON=${PYTHON:-python3} WHEELS=${WHEELS:-_build/wheels} CHAPTERS=${CHAPTERS:-}
RECIPES=${RECIPES-drums:5000 instrument:4000 chorales nottingham renderer:2000}
KEEP=$(realpath -m "${KEEP:-_build/gpu${DRY:+-dry}}") deadline=$((SECONDS + MINUTES * 60 - 20)) # 20 s to stop and pack
export PYTHONPATH="$PWD:$KEEP/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MUSICAI_SCALE=${DRY:+smoke}
export MUSICAI_SCALE=${MUSICAI_SCALE:-full} OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
mkdir -p "$KEEP"
if [ ! -e "$KEEP/site/soxr" ] && compgen -G "$WHEELS/*.whl" >/dev/null; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$KEEP/site" "$WHEELS"/*.whl || exit 1
fi

pack() { # small files first, so that what is cut off at the end is the largest file
  [ -n "${OUT:-}" ] || return 0
  mkdir -p "$OUT" && rm -f "$OUT"/gpu.tar.gz.*
  (cd "$KEEP" && find . -type f -not -path './site/*' -not -name 'run.safetensors' -printf '%s\t%P\n') | sort -n |
    cut -f2 | tar -C "$KEEP" --no-recursion -T - -cz | head -c 60M | split -b 15M - "$OUT/gpu.tar.gz."
}
trap pack EXIT

stage() { # stage NAME SHARE COMMAND...: for at most 1/SHARE of the time that is left
  local name=$1 left=$(((deadline - SECONDS) / $2)) code=0
  # INT is what Ctrl-C sends: a training saves before it goes. Jobs in the background ignore it unless env says otherwise.
  # A cache of compiled code for each: two processes that fill librosa's at once leave one that crashes whoever reads it.
  [ $left -gt 0 ] && env --default-signal=INT NUMBA_CACHE_DIR="$KEEP/site/numba/$name" \
    timeout -s INT -k 10 $left "${@:3}" >"$KEEP/$name.log" 2>&1 </dev/null || code=$?
  [ $code = 124 ] || [ $code = 137 ] && code="stopped after $left s"
  printf '== %s: %s\n%s\n' "$name" "$code" "$(tr '\r' '\n' <"$KEEP/$name.log" | tail -n 5 | cut -c1-300)"
}

if [ -z "$CHAPTERS" ]; then
  for benchmark in $(grep -l cuda benchmarks/*.py); do
    stage "bench_$(basename "$benchmark" .py)" 5 "$PYTHON" "$benchmark" ${DRY:+--help}
  done
fi
# NVIDIA's MPS lets processes use the card at the same time. Without it they take turns, each several times slower.
quit() { echo quit | nvidia-cuda-mps-control; }
if CUDA_MPS_LOG_DIRECTORY=$KEEP nvidia-cuda-mps-control -d 2>/dev/null; then
  trap 'pack; quit' EXIT
  timeout 30 "$PYTHON" -c 'import torch; torch.ones(1, device="cuda")' || quit
fi
if [ -n "$CHAPTERS" ]; then
  for notebook in $CHAPTERS; do
    cp "$notebook" "$KEEP"
    stage "$(basename "$notebook" .ipynb)" 1 "$PYTHON" scripts/run_notebooks.py "$KEEP/$(basename "$notebook")" &
  done
else
  # shellcheck disable=SC2046
  stage tests 1 "$PYTHON" -m pytest -q -p no:cacheprovider -k "cuda or gpu or triton" $(grep -lE "cuda|triton" tests/*.py) &
  for recipe in $RECIPES; do
    IFS=: read -r name steps <<<"$recipe"
    stage "$name" 1 "$PYTHON" -m musicai train "$name" --out "$KEEP/$name" ${steps:+--steps "$steps"} ${DRY:+--steps 3} &
  done
fi
wait
