# Sourced by ./run: makes the environment of the tests and runs them all, or what the arguments name.
# shellcheck shell=sh disable=SC2154

# What the oracles and the lab need. Where it cannot be installed, the tests that need it skip and say so.
missing=
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
have gcc || missing="$missing gcc libc6-dev"
have qemu-system-x86_64 || missing="$missing qemu-system-x86"
have qemu-system-aarch64 || missing="$missing qemu-system-arm"
have busybox || missing="$missing busybox-static"
have mkfs.ext4 || [ -x /sbin/mkfs.ext4 ] || missing="$missing e2fsprogs"
have clang-14 || missing="$missing clang-14"
have clang-19 || missing="$missing clang-19"
[ -e /usr/include/bpf/libbpf.h ] || missing="$missing libbpf-dev"
[ -e /usr/include/libelf.h ] || missing="$missing libelf-dev zlib1g-dev"
have llvm-mc-19 || missing="$missing llvm-19"
have llvm-mc-14 || missing="$missing llvm-14"
have bpftool || missing="$missing bpftool"
have gpg || missing="$missing gnupg"
have xz || missing="$missing xz-utils"
if [ -n "$missing" ]; then
    if have apt-get && [ "$(id -u)" = 0 ]; then
        # shellcheck disable=SC2086
        install 'a full test run' $missing
    else
        printf 'run: without%s some tests are skipped (as root: apt-get install%s)\n' "$missing" "$missing" >&2
        case $missing in *python3-venv*) die 'the tests need python3-venv' 'sudo apt-get install python3-venv' ;; esac
    fi
fi

sum=$(cat "$here/pyproject.toml" "$python" | cksum | tr -d ' ')
venv=$cache/venv-$sum
if [ ! -e "$venv/ready" ]; then
    agree 'The tests need about 100 MB of Python packages: download?' || exit 3
    printf 'run: making the environment of the tests in %s\n' "$venv" >&2
    "$python" -m venv "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check "$here[all]" &&
        "$venv/bin/pip" uninstall -q -y bpfasm &&
        : >"$venv/ready" || die 'the environment of the tests could not be made' 'pip says above why; is there a network?'
fi

export PYTHONPATH="$here" RUFF_CACHE_DIR="$cache/ruff" MYPY_CACHE_DIR="$cache/mypy"
export PYTHONPYCACHEPREFIX="$cache/pycache"
unset PYTHONDONTWRITEBYTECODE  # what pytest compiles is for the guests too
cd "$here" || exit
if [ $# -gt 0 ]; then
    "$venv/bin/python" -m pytest -o cache_dir="$cache/pytest" "$@"
    exit
fi

failed=
step() {
    name=$1; shift
    printf '\n== %s\n' "$name"
    start=$(date +%s)
    "$@" || failed="$failed $name"
    printf '== %s: %s s\n' "$name" "$(($(date +%s) - start))"
}
step ruff "$venv/bin/ruff" check .
step format "$venv/bin/ruff" format --check .
step mypy "$venv/bin/mypy"
step docs "$venv/bin/sphinx-build" -q -W --keep-going -b html -d "$cache/doctrees" docs "$cache/html"
step tests "$venv/bin/python" -m pytest -o cache_dir="$cache/pytest" --on live,all
# What depends on the processor. All live tests run there with ./run test tests/live --on 6.12-arm64, in a quarter of an hour.
arm64='chowncount kprobes uprobes traced ring perf programs maps'
# shellcheck disable=SC2046,SC2086
step arm64 "$venv/bin/python" -m pytest -o cache_dir="$cache/pytest" --on 6.12-arm64 $(printf 'tests/live/test_%s.py ' $arm64)
if [ -n "$failed" ]; then
    printf '\nfailed:%s\n' "$failed"
    exit 1
fi
printf '\nall passed\n'
