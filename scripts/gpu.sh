#!/usr/bin/env bash
# Everything that wants a GPU, on any machine with CUDA torch, also one without network that is lent for minutes at a
# time: tests, the benchmarks that measure a GPU, the chapters at full scale, then the trainings. One call takes MINUTES;
# call again until nothing is left. What is done is skipped. A chapter that has not ended runs on between the calls (in
# a session of its own), and the next call waits for it; a training is stopped, saved, and goes on from its checkpoint.
#
#   python scripts/gpu_wheels.py                where there is a network: what such a machine lacks, in _build/wheels
#   DRY=1 make gpu                              anywhere, first: each stage, a few steps of it
#   MINUTES=9 JOBS=3 OUT=results make gpu       there; again; again
#
# JOBS: chapters at a time (1: their printed times are then those of a free GPU). The last of them may overlap with the
# trainings. All is kept in KEEP (_build/gpu; when dry, _build/gpu-dry). If OUT is set, what is worth taking home goes
# there too, as gpu.tar.gz.* of at most 15 MB each (`cat gpu.tar.gz.* | tar xz`): no checkpoints, no file above 20 MB;
# OUT may be emptied between calls.
set -uo pipefail
cd "$(dirname "$0")/.."
DRY=${DRY:-}
KEEP=${KEEP:-_build/gpu${DRY:+-dry}}
MINUTES=${MINUTES:-9}
JOBS=${JOBS:-1}
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

state() { # state NAME: done, failed, running or new
  local code="$KEEP/$1.code" pid="$KEEP/$1.pid"
  if [ -e "$code" ]; then
    [ "$(cat "$code")" = 0 ] && echo "done" || echo failed
  else
    [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null && echo running || echo new
  fi
}

running() { # how many
  local file count=0
  for file in "$KEEP"/*.pid; do [ "$(state "$(basename "$file" .pid)")" = running ] && count=$((count + 1)); done
  echo $count
}

fresh() { # fresh NAME: whether to run it now
  local now left=$((deadline - SECONDS))
  now=$(state "$1")
  [ "$now" = new ] && [ "$left" -lt 20 ] && now="no time left; call again"
  [ "$now" = failed ] && now="failed; to try again, delete $KEEP/$1.code"
  [ "$now" = new ] && return
  echo "== $1: $now"
  return 1
}

begin() { # begin NAME COMMAND...: as soon as fewer than JOBS are running; it may outlive this call
  local name=$1
  shift
  while [ "$(running)" -ge "$JOBS" ] && [ $SECONDS -lt $deadline ]; do sleep 1; done
  fresh "$name" || return 0
  echo "== $name: begun"
  setsid bash -c '"$@"; echo $? >"$0"' "$KEEP/$name.code" "$@" >"$KEEP/$name.log" 2>&1 </dev/null &
  echo $! >"$KEEP/$name.pid"
}

begin tests "$PYTHON" -m pytest -q -p no:cacheprovider -k "cuda or gpu or triton" tests/test_audio.py tests/test_generate.py \
  tests/test_fast_triton.py
for benchmark in $(grep -l cuda benchmarks/*.py); do
  begin "bench_$(basename "$benchmark" .py)" "$PYTHON" "$benchmark" ${DRY:+--help}
done
for notebook in notebooks/[0-9]*.ipynb; do
  name=$(basename "$notebook" .ipynb)
  [ -e "$KEEP/$name.ipynb" ] || cp "$notebook" "$KEEP/"
  begin "$name" "$PYTHON" scripts/run_notebooks.py "$KEEP/$name.ipynb"
done

# T4 and older have no bf16 in hardware.
config=$("$PYTHON" -c 'import torch; print("h100" if torch.cuda.is_bf16_supported(including_emulation=False) else "t4")')
few=()
[ -n "$DRY" ] && config=cpu few=(--steps 3)
train() { # train NAME SCRIPT [OPTION...]: for at most half of the time that is left, as the others want some too
  local name=$1 code=0 half=$(((deadline - SECONDS) / 2))
  fresh "$name" || return 0
  echo "== $name: at most $half s"
  # INT is what Ctrl-C sends: a training saves before it goes
  timeout -s INT -k 25 "$half" "$PYTHON" "scripts/$2.py" --out "$KEEP/$name" "${@:3}" ${few[@]+"${few[@]}"} \
    >"$KEEP/$name.log" 2>&1 || code=$?
  [ $code = 124 ] || [ $code = 137 ] || echo $code >"$KEEP/$name.code" # else it goes on at the next call
}
for set in jsb nottingham; do
  train "polyphony_$set" train_polyphony --data "$set"
done
train instrument train_instrument --config "$config" --precision auto
train wavegan train_wavegan --config "$config" --precision auto $([ -n "$DRY" ] || echo --compile)
# WaveNets that play a score, partials first: with each head; and one that hears none
few+=(--seconds 1 --test-batches 8) # a GPU's batches are large
[ -n "$DRY" ] && few+=(--partial_steps 2 --tunes 5 --seconds 0.05 --valid-batches 1 --test-batches 1)
train renderer train_renderer --config "$config" --precision auto
train renderer-categorical train_renderer --config "$config" --precision auto --head categorical
train renderer-unconditional train_renderer --config "$config" --precision auto --head categorical --unconditional

while [ "$(running)" -gt 0 ] && [ $SECONDS -lt $deadline ]; do sleep 1; done
for log in "$KEEP"/*.log; do
  echo "== $(basename "$log" .log): $(state "$(basename "$log" .log)")"
  tr '\r' '\n' <"$log" | tail -n 5 | cut -c1-300
done
