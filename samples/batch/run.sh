#!/bin/sh
# The boot file: ModelArts runs it, and shows what it prints.
set -eu
input="${INPUT_DIR:-/home/app/points}"
output="${OUTPUT_DIR:-/tmp/output}"
echo "points: model in $MODEL_DIR, input in $input"
mkdir -p "$output"
python3 predict.py "$MODEL_DIR" "$input" "$output"
(cd "$output" && zip -q answers.zip ./*.csv)
echo "points: wrote $output/answers.zip"
