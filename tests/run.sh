#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Sets up, builds and runs the tests; ends with ctest's summary and its exit code.
#   tests/run.sh [--asan|--tsan] [--full] [--no-e2e] [CTEST ARGUMENTS…]
# --asan    with AddressSanitizer and UndefinedBehaviorSanitizer
# --tsan    with ThreadSanitizer
# --full    long tests at their full size, too
# --no-e2e  without the tests that run real daemons
# As root the e2e tests use network namespaces; as another user, the network that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
sanitize=
e2e=yes
ctest_arguments=()
while (($#)); do
  case $1 in
    --asan) preset=asan sanitize=address ;;
    --tsan) preset=tsan sanitize=thread ;;
    --full) export CONND_FULL=1 ;;
    --no-e2e) e2e= ctest_arguments+=(-LE e2e) ;;
    -h | --help)
      sed -n '3,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) ctest_arguments+=("$1") ;;
  esac
  shift
done

tools/setup.sh test
jobs=$(nproc)
cmake --preset "$preset" >/dev/null
# Sanitizers have no packages to test: without the real daemons' tests their programs are of no use.
targets=(all)
[[ $e2e || ! $sanitize ]] || targets=(unit_tests)
cmake --build "build/$preset" -j "$jobs" --target "${targets[@]}"

export CONND_SANITIZE=$sanitize
# allocator_may_return_null: on a garbage packet OpenDHT's msgpack asks malloc for 64 GiB and takes no for an answer, as
# everywhere else; the sanitizers' allocators would end the process instead.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0:${LSAN_OPTIONS:-}
export TSAN_OPTIONS=suppressions=$PWD/tests/tsan.supp:second_deadlock_stack=1:allocator_may_return_null=1:${TSAN_OPTIONS:-}
run=(ctest)
# gcc 12's ThreadSanitizer cannot live with as many random bits of address space as newer kernels use.
if [[ $sanitize == thread ]] && setarch --addr-no-randomize true 2>/dev/null; then
  run=(setarch --addr-no-randomize ctest)
fi
# One more than there are processors: most of those with real daemons wait, and those that measure run alone.
exec "${run[@]}" --test-dir "build/$preset" --output-on-failure -j "$((jobs + 1))" "${ctest_arguments[@]}"
