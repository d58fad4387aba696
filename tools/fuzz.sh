# Sourced by ./run: reads far more broken files than `./run test` does. The words after `fuzz` go to pytest.
# shellcheck shell=sh disable=SC2154

# Each line is a set of tests, marked `fuzz`, that take their count from BPFASM_FUZZ_COUNT.
export PYTHONPATH="$here" PYTHONPYCACHEPREFIX="$cache/pycache" BPFASM_FUZZ_COUNT="${BPFASM_FUZZ_COUNT:-100000}"
cd "$here" || exit
venv=$(ls -d "$cache"/venv-*/ready 2>/dev/null | head -n 1)
[ -n "$venv" ] || die 'the environment of the tests is not there yet' './run test tests/unit makes it'
"${venv%/ready}/bin/python" -m pytest -o cache_dir="$cache/pytest" -m fuzz "$@"
