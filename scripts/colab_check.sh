#!/usr/bin/env bash
# Does installing musicai leave a Colab-like environment as it was? Makes one (Colab's own pins), installs this checkout
# with the extras that the chapters' first cell asks for, compares, and runs every chapter at smoke scale. It needs the
# network and about ten minutes of a core. Usage: [PYTHON=python3.13] [TORCH=torch==2.11.*] scripts/colab_check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
python="$folder/venv/bin/python"
pins=(numpy==2.1.* numba==0.61.* ipython==7.34.0 ipywidgets==7.7.1 librosa==0.11.0 matplotlib==3.10.0)
"$python" -m pip install --quiet "${pins[@]}" "${TORCH:-torch==2.13.0}" ipykernel nbclient
"$python" -m pip freeze | sort >"$folder/before"
rm -rf build # else modules that are gone come back from there
"$python" -m pip install --quiet ".[notebook,corpus]"
"$python" -m pip freeze | sort >"$folder/after"
changed=$(comm -23 "$folder/before" "$folder/after")
if [ -n "$changed" ]; then
  printf 'installing musicai changed what was there:\n%s\n' "$changed"
  exit 1
fi
"$python" -m pip check
"$python" -c 'import musicai.audio, musicai.notebook, musicai.performance'
cd "$folder"
for notebook in "$OLDPWD"/notebooks/*.ipynb; do
  MUSICAI_SCALE=smoke "$python" -m jupyter execute "$notebook" --output "$folder/$(basename "$notebook")"
done
echo "the Colab-like environment is as it was, and every chapter runs in it"
