# Sourced by ./run: the full counts of the tests of random inputs, of which `./run test` does a sample.
#   ./run fuzz [--minutes N]   begins nothing new after N minutes
# shellcheck shell=sh disable=SC2154

minutes=
[ "${1:-}" = --minutes ] && minutes=${2:-}
begin=$(date +%s)
failed=
# fuzz NAME VARIABLE=VALUE... TESTS: run tests with other counts, unless the time is over.
fuzz() {
    name=$1; shift
    variables=
    while :; do case $1 in *=*) variables="$variables $1"; shift ;; *) break ;; esac done
    if [ -n "$minutes" ] && [ $(($(date +%s) - begin)) -ge $((minutes * 60)) ]; then
        printf '\n== %s: no time\n' "$name"
        return
    fi
    printf '\n== %s\n' "$name"
    # shellcheck disable=SC2086
    env $variables "$here/run" test -q "$@" || failed="$failed $name"
}

# 100,000 mutated texts of each syntax and of C: our errors only, each at a line.
fuzz 'mutated texts' BPFASM_MUTATIONS=100000 tests/unit/test_syntaxes.py -k mutated
# Every form with 4220 random operands are a million instructions: in disasm.c's words, and back from every syntax.
fuzz 'the words of disasm.c' BPFASM_SAMPLES=4220 tests/differential/test_disasm.py -k word_for_word
fuzz 'every syntax and back' BPFASM_SAMPLES=4220 tests/unit/test_syntaxes.py -k listing_is_read

# Everything else that reads bytes: objects, types, embedded modules.
fuzz 'broken files' BPFASM_FUZZ_COUNT=100000 tests -m fuzz

if [ -n "$failed" ]; then
    printf '\nfailed:%s\n' "$failed"
    exit 1
fi
printf '\nall passed\n'
