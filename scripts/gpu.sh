#!/usr/bin/env bash
# Everything that wants a GPU, on any machine with CUDA torch, even one without a network that is lent for minutes:
# tests, benchmarks, the chapters at full scale, then the recipes. One call takes MINUTES. Call again until nothing is
# left: what has ended is skipped, a recipe resumes, and a chapter that ran out of time starts over.
#
#   python scripts/gpu_wheels.py                where there is a network: what such a machine lacks, in _build/wheels
#   DRY=1 make gpu                              anywhere, first: each stage, a few steps of it
#   MINUTES=9 JOBS=3 OUT=results make gpu       there; again; again
#
# JOBS: chapters at a time (with 1, their printed times are those of a free GPU). Everything is kept in KEEP. If OUT is
# set, gpu.tar.gz.* of at most 15 MB each go there (`cat gpu.tar.gz.* | tar xz`), without checkpoints of runs.
set -uo pipefail
cd "$(dirname "$0")/.."
DRY=${DRY:-} MINUTES=${MINUTES:-9} JOBS=${JOBS:-1} PYTHON=${PYTHON:-python3} WHEELS=${WHEELS:-_build/wheels}
KEEP=${KEEP:-_build/gpu${DRY:+-dry}}
deadline=$((SECONDS + MINUTES * 60))
mkdir -p "$KEEP"
KEEP=$(cd "$KEEP" && pwd)
export PYTHONPATH="$PWD:$KEEP/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MUSICAI_SCALE=${DRY:+smoke}
MUSICAI_SCALE=${MUSICAI_SCALE:-full}

if [ ! -e "$KEEP/site" ] && [ -n "$(ls "$WHEELS"/*.whl 2>/dev/null)" ]; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$KEEP/site" "$WHEELS"/*.whl || exit 1
fi
"$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || [ -n "$DRY" ] ||
  { echo "make gpu needs torch and a CUDA device; DRY=1 make gpu tries everything but the GPU" && exit 1; }

pack() { # what goes home
  [ -n "${OUT:-}" ] || return 0
  mkdir -p "$OUT" && rm -f "$OUT"/gpu.tar.gz.*
  tar -C "$KEEP" --exclude=./site --exclude=run.safetensors --exclude=partials.safetensors -cz . |
    split -b 15M - "$OUT/gpu.tar.gz."
}
trap pack EXIT

stage() { # stage NAME SHARE COMMAND...: for at most 1/SHARE of the time that is left
  local name=$1 left=$(((deadline - SECONDS) / $2)) code=0
  [ -e "$KEEP/$name.done" ] && return
  [ $left -lt 15 ] && echo "== $name: no time left; call again" && return
  # INT is what Ctrl-C sends: a training saves before it goes
  timeout -s INT -k 25 "$left" "${@:3}" >"$KEEP/$name.log" 2>&1 </dev/null || code=$?
  [ $code = 0 ] && touch "$KEEP/$name.done"
  [ $code = 124 ] || [ $code = 137 ] && code="time is up after $left s; call again"
  echo "== $name: $code"
  tr '\r' '\n' <"$KEEP/$name.log" | tail -n 5 | cut -c1-300
}

stage tests 1 "$PYTHON" -m pytest -q -p no:cacheprovider -k "cuda or gpu or triton" \
  $(grep -lE "cuda|triton" tests/test_*.py)
for benchmark in $(grep -l cuda benchmarks/*.py); do
  stage "bench_$(basename "$benchmark" .py)" 2 "$PYTHON" "$benchmark" ${DRY:+--help}
done
for notebook in notebooks/[0-9]*.ipynb; do
  name=$(basename "$notebook" .ipynb)
  cp -n "$notebook" "$KEEP/"
  stage "$name" 1 "$PYTHON" scripts/run_notebooks.py "$KEEP/$name.ipynb" &
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
done
wait
for name in $("$PYTHON" -c 'from musicai.recipes import RECIPES; print(*RECIPES)'); do
  stage "$name" 2 "$PYTHON" -m musicai train "$name" --out "$KEEP/$name" ${DRY:+--steps 3}
done
