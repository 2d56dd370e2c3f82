#!/usr/bin/env bash
# Runs scripts of this folder one after the other on a machine with a GPU and no network:
#
#     bash gpu/device.sh 10-tests "20-bench --part inference-bfloat16"
#
# Installs the carried wheels into a folder of their own, takes fcis from the working tree, and
# shares SECONDS_IN_ALL (540) between the scripts. OUT is the folder that is brought back, WHEELS
# the folder of the wheels (gpu/carry/wheels). Exits with the highest exit code of the scripts.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
end=$(($(date +%s) + ${SECONDS_IN_ALL:-540}))
export OUT=${OUT:-$PWD/gpu/out} PYTHONUNBUFFERED=1
mkdir -p "$OUT"
wheels=${WHEELS:-gpu/carry/wheels}
if compgen -G "$wheels/*.whl" >/dev/null; then
    site=$PWD/gpu/work/site
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
        --upgrade --target "$site" "$wheels"/*.whl || exit
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}
"$python" gpu/missing.py || exit
worst=0
for line in "$@"; do
    read -ra words <<<"$line"
    left=$((end - $(date +%s)))
    if [ "$left" -lt 30 ]; then
        echo "not begun, the time is up: $line"
        worst=$((worst > 3 ? worst : 3))
        continue
    fi
    "$python" "gpu/${words[0]}.py" --seconds "$left" "${words[@]:1}"
    code=$?
    worst=$((worst > code ? worst : code))
done
exit "$worst"
