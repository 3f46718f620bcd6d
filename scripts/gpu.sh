#!/usr/bin/env bash
# Everything that wants a GPU, on any machine with CUDA torch and no network: the chapters at full scale, the
# benchmarks, then the trainings. Each stage has its own time limit, leaves what it made in $OUT, and is skipped where it
# is done already, so that a broken-off call can be made again; a training then goes on from its checkpoint. Chapters go
# first: they are what the book ships.
#   OUT=results MINUTES=9 PYTHON=python3 make gpu
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-_build/gpu}
MINUTES=${MINUTES:-9}
PYTHON=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MUSICAI_SCALE=full
mkdir -p "$OUT"
"$PYTHON" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "make gpu needs a CUDA device; torch sees none")' || exit 1
deadline=$((SECONDS + MINUTES * 60))

stage() { # [LIMIT=seconds] stage NAME COMMAND...: run it in what is left of the time, once
  local name=$1 left=$((deadline - SECONDS))
  [ "${LIMIT:-$left}" -lt "$left" ] && left=$LIMIT
  shift
  [ -e "$OUT/$name.done" ] && { echo "== $name: done before"; return; }
  [ "$left" -gt 20 ] || { echo "== $name: no time left; call again"; return; }
  echo "== $name ($left s left)"
  # INT is what Ctrl-C sends: a training saves before it goes
  if timeout -s INT -k 60 "$left" "$@" >"$OUT/$name.log" 2>&1; then touch "$OUT/$name.done"; else echo "   failed or out of time"; fi
  tail -n 15 "$OUT/$name.log"
}

for notebook in notebooks/*.ipynb; do
  name=$(basename "$notebook" .ipynb)
  stage "$name" "$PYTHON" scripts/run_notebooks.py "$notebook"
  [ -e "$OUT/$name.done" ] && cp "$notebook" "$OUT/"
done
for set in jsb nottingham; do
  stage "polyphony_$set" "$PYTHON" scripts/train_polyphony.py --data "$set" --out "$OUT/polyphony_$set"
done
for benchmark in benchmarks/*.py; do
  stage "bench_$(basename "$benchmark" .py)" "$PYTHON" "$benchmark"
done

# T4 and older have no bf16 in hardware.
config=$("$PYTHON" -c 'import torch; print("h100" if torch.cuda.is_bf16_supported(including_emulation=False) else "t4")')
train() { # train NAME [OPTION...]: go on with scripts/train_NAME.py
  stage "train_$1" "$PYTHON" "scripts/train_$1.py" --config "$config" --out "$OUT/$1" --precision auto "${@:2}"
}
LIMIT=$(((deadline - SECONDS) / 2)) train instrument
LIMIT=$(((deadline - SECONDS) / 2)) train wavegan --compile
# WaveNets that play a score: with each head, and one that hears none
for kind in "--head categorical" "--head mixture" --unconditional; do
  name=renderer-${kind##*[- ]}
  LIMIT=$(((deadline - SECONDS) / 2)) stage "train_$name" "$PYTHON" scripts/train_renderer.py --config "$config" \
    --out "$OUT/$name" --precision auto $kind # kind is one word or two
done
