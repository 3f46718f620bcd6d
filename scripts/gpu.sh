#!/usr/bin/env bash
# Everything that wants a GPU, on any machine with CUDA torch, also one without network that is lent for minutes at a
# time: tests, the chapters at full scale, the benchmarks that measure a GPU, then the trainings. One call takes MINUTES.
# A stage that is done is skipped by the next call, and a training goes on from its checkpoint: call again until nothing
# is left. Chapters come before trainings: they are what the book ships.
#
#   python scripts/gpu_wheels.py             where there is a network: what such a machine lacks, in _build/wheels
#   DRY=1 make gpu                           anywhere, first: each stage, a few steps of it
#   MINUTES=9 OUT=results make gpu           there; again; again
#
# All is kept in KEEP (_build/gpu; when dry, _build/gpu-dry). If OUT is set, what is worth taking home goes there too, as gpu.tar.gz.* of at most
# 15 MB each (`cat gpu.tar.gz.* | tar xz`): no checkpoints, no file above 20 MB; OUT may be emptied between calls.
set -uo pipefail
cd "$(dirname "$0")/.."
DRY=${DRY:-}
KEEP=${KEEP:-_build/gpu${DRY:+-dry}}
MINUTES=${MINUTES:-9}
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-_build/wheels}
deadline=$((SECONDS + MINUTES * 60))
mkdir -p "$KEEP"
KEEP=$(cd "$KEEP" && pwd)
export PYTHONPATH="$PWD:$KEEP/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MUSICAI_SCALE=${DRY:+smoke}
MUSICAI_SCALE=${MUSICAI_SCALE:-full}

if [ ! -e "$KEEP/site" ] && [ -n "$(ls "$WHEELS"/*.whl 2>/dev/null)" ]; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$KEEP/site" "$WHEELS"/*.whl || exit 1
fi
DRY=$DRY "$PYTHON" - <<'END' || exit 1
import os, sys
from importlib.util import find_spec

needed = "torch soundfile soxr symusic scipy sklearn safetensors tqdm music21 librosa numba matplotlib IPython ipywidgets"
missing = [name for name in f"{needed} ipykernel nbclient nbformat pytest hypothesis".split() if not find_spec(name)]
if missing:
    sys.exit(f"make gpu lacks {', '.join(missing)}: pip install '.[test]', or without network scripts/gpu_wheels.py")
import torch

if not (torch.cuda.is_available() or os.environ["DRY"]):
    sys.exit("make gpu needs a CUDA device; torch sees none. DRY=1 make gpu tries all but the GPU")
END

pack() { # what goes home
  [ -n "${OUT:-}" ] || return 0
  mkdir -p "$OUT" && rm -f "$OUT"/gpu.tar.gz.*
  local large="$KEEP/left-out.txt"
  (cd "$KEEP" && find . -type f ! -path './site/*' -size +20M) >"$large"
  tar -C "$KEEP" --exclude=./site --exclude=run.safetensors --exclude=partials.safetensors -X "$large" -cz . |
    split -b 15M - "$OUT/gpu.tar.gz."
}
trap pack EXIT

stage() { # [LIMIT=seconds] [RESUMES=1] stage NAME COMMAND...: run it in what is left of the time, once
  local name=$1 left=$((deadline - SECONDS)) code=0
  [ "${LIMIT:-$left}" -lt "$left" ] && left=$LIMIT
  shift
  [ -e "$KEEP/$name.done" ] && { echo "== $name: done before"; return; }
  [ -e "$KEEP/$name.failed" ] && { echo "== $name: failed before; to try again, delete $KEEP/$name.failed"; return; }
  [ "$left" -gt 20 ] || { echo "== $name: no time left; call again"; return; }
  echo "== $name (at most $left s)"
  # INT is what Ctrl-C sends: a training saves before it goes
  timeout -s INT -k 25 "$left" "$@" >"$KEEP/$name.log" 2>&1 || code=$?
  case $code in
    0) touch "$KEEP/$name.done" ;;
    124 | 137) # what begins anew each time gets one whole call and no more
      echo "   out of time"
      [ -z "${RESUMES:-}" ] && [ "$left" -ge $((MINUTES * 60 - 90)) ] && touch "$KEEP/$name.failed" ;;
    *) echo "   failed ($code)"; touch "$KEEP/$name.failed" ;;
  esac
  tr '\r' '\n' <"$KEEP/$name.log" | tail -n 8 | cut -c1-300
}

stage tests "$PYTHON" -m pytest -q -p no:cacheprovider -k "cuda or gpu" tests/test_audio.py tests/test_sampling.py
for notebook in notebooks/[0-9]*.ipynb; do
  name=$(basename "$notebook" .ipynb)
  [ -e "$KEEP/$name.ipynb" ] || cp "$notebook" "$KEEP/"
  stage "$name" "$PYTHON" scripts/run_notebooks.py "$KEEP/$name.ipynb"
done
for benchmark in $(grep -l cuda benchmarks/*.py); do
  stage "bench_$(basename "$benchmark" .py)" "$PYTHON" "$benchmark" ${DRY:+--help}
done

# T4 and older have no bf16 in hardware.
config=$("$PYTHON" -c 'import torch; print("h100" if torch.cuda.is_bf16_supported(including_emulation=False) else "t4")')
few=()
[ -n "$DRY" ] && config=cpu few=(--steps 3)
train() { # train NAME SCRIPT [OPTION...]: go on with it, for at most half of what is left: the others want some too
  local half=$(((deadline - SECONDS) / 2))
  LIMIT=$half RESUMES=1 stage "$1" "$PYTHON" "scripts/$2.py" --out "$KEEP/$1" "${@:3}" ${few[@]+"${few[@]}"}
}
for set in jsb nottingham; do
  train "polyphony_$set" train_polyphony --data "$set"
done
train instrument train_instrument --config "$config" --precision auto
train wavegan train_wavegan --config "$config" --precision auto $([ -n "$DRY" ] || echo --compile)
# WaveNets that play a score, partials first: with each head; and one that hears none
[ -n "$DRY" ] && few+=(--partial_steps 2 --tunes 5 --seconds 0.05 --valid-batches 1 --test-batches 1)
train renderer-categorical train_renderer --config "$config" --precision auto --head categorical
train renderer-mixture train_renderer --config "$config" --precision auto --head mixture
train renderer-unconditional train_renderer --config "$config" --precision auto --unconditional
