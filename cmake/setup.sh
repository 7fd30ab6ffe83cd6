# Sourced by examples/run, tests/run, benchmarks/run and .ci/run: what AURA needs on a machine, and how to get it.
# Every Debian package that any script of ours installs is in this one list.

# group  package             what shows that it is there: a command, or a file
aura_packages='
build    g++                 g++
build    cmake               cmake
build    ninja-build         ninja
build    ccache              ccache
build    libboost1.81-dev    boost
build    libfmt-dev          /usr/include/fmt/format.h
build    nlohmann-json3-dev  /usr/include/nlohmann/json.hpp
build    libsqlite3-dev      /usr/include/sqlite3.h
build    libglpk-dev         /usr/include/glpk.h
tests    catch2              /usr/include/catch2
tests    python3             python3
bench    python3             python3
bench    libtbb-dev          /usr/include/tbb
bench    libconcurrentqueue-dev  /usr/include/concurrentqueue
bench    coinor-libcbc-dev   /usr/include/coin/Cbc_C_Interface.h
ci       clang-16            clang++-16
ci       libclang-rt-16-dev  /usr/lib/llvm-16/lib/clang/16/lib/linux
'

aura_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
aura_boost=""                              # headers that were unpacked because the system's Boost is too old
aura_boost_folder=$aura_root/build/boost

aura_say() { echo "aura: $*" >&2; }
aura_stop() { aura_say "$@"; exit 1; }

# aura_install GROUP...: installs with apt what is missing of these groups, and says so first.
aura_install() {
  aura_use_unpacked_boost
  local missing
  missing=$(aura_missing "$@")
  [ -z "$missing" ] && return
  # shellcheck disable=SC2086 # a list of words
  aura_install_packages $missing
}

aura_missing() {
  local groups=" $* " group package sign
  while read -r group package sign; do
    if [[ -n $group && $groups == *" $group "* ]] && ! aura_is_there "$sign"; then
      echo "$package"
    fi
  done <<< "$aura_packages"
}

aura_is_there() {
  case $1 in
    boost) [ -n "$aura_boost" ] || aura_boost_is_new_enough /usr/include || aura_boost_is_new_enough /usr/local/include ;;
    g++) command -v "${CXX:-g++}" > /dev/null ;;
    /*) [ -e "$1" ] || [ -e "/usr/local${1#/usr}" ] ;;
    *) command -v "$1" > /dev/null ;;
  esac
}

aura_boost_is_new_enough() {
  local line
  line=$(grep -m 1 -E '^#define BOOST_VERSION [0-9]+' "$1/boost/version.hpp" 2> /dev/null) || return 1
  [ "${line##* }" -ge 108100 ]
}

aura_use_unpacked_boost() {
  if aura_boost_is_new_enough "$aura_boost_folder/usr/include"; then
    aura_boost=$aura_boost_folder/usr/include
  fi
}

aura_install_packages() {
  local packages=("$@") plan
  if ! command -v apt-get > /dev/null; then
    aura_say "this system has no apt-get, so nothing is installed here. AURA needs, by their Debian names:"
    aura_stop "  ${packages[*]} (g++ 12 or clang++ 16, CMake 3.22, Boost 1.81, fmt 9, nlohmann_json 3.11, or later)"
  fi
  aura_say "missing here: ${packages[*]}"

  plan=$(aura_simulate "${packages[@]}") || {
    aura_say "apt's lists are missing or old: apt-get update"
    aura_apt update -q > /dev/null || aura_stop "apt-get update failed"
    plan=$(aura_simulate "${packages[@]}") || { echo "$plan" >&2; aura_stop "apt cannot install ${packages[*]}"; }
  }

  if [ -n "$(aura_removed "$plan")" ]; then
    aura_say "apt would remove: $(aura_removed "$plan")"
    [[ " ${packages[*]} " == *" libboost1.81-dev "* ]] || aura_stop "these are yours, so nothing was installed"
    aura_unpack_boost
    # shellcheck disable=SC2206 # a list of words
    packages=(${packages[@]/libboost1.81-dev/})
    [ ${#packages[@]} -eq 0 ] && return
    plan=$(aura_simulate "${packages[@]}") || { echo "$plan" >&2; aura_stop "apt cannot install ${packages[*]}"; }
    [ -z "$(aura_removed "$plan")" ] ||
      aura_stop "apt would still remove $(aura_removed "$plan")and these are yours, so nothing was installed"
  fi

  aura_say "installing with apt: ${packages[*]}"
  aura_say "with what they depend on: $(grep -c '^Inst ' <<< "$plan") packages"
  aura_apt install -q -y --no-install-recommends --no-remove "${packages[@]}" > /dev/null || {
    aura_say "that failed; once more with fresh lists"
    aura_apt update -q > /dev/null
    aura_apt install -q -y --no-install-recommends --no-remove "${packages[@]}" > /dev/null ||
      aura_stop "apt could not install ${packages[*]}"
  }
}

aura_simulate() { LC_ALL=C apt-get -s -q install --no-install-recommends "$@" 2>&1; }

aura_removed() { sed -n 's/^Remv \([^ ]*\).*/\1/p' <<< "$1" | tr '\n' ' '; }

aura_apt() {
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || aura_stop "not root, and no sudo. As root: apt-get $*"
    sudo=(sudo)
  fi
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -o Dpkg::Use-Pty=0 "$@" < /dev/null
}

# Boost 1.81's -dev package excludes 1.74's. Where that one is installed, the headers go into our build folder.
aura_unpack_boost() {
  aura_say "unpacking the headers of libboost1.81-dev into $aura_boost_folder instead; nothing of yours is touched"
  local folder=$aura_boost_folder.new
  rm -rf "$folder" "$aura_boost_folder"
  mkdir -p "$folder"
  (cd "$folder" && apt-get download -q -o APT::Sandbox::User=root libboost1.81-dev > /dev/null) ||
    aura_stop "apt-get download libboost1.81-dev failed"
  dpkg -x "$folder"/libboost1.81-dev_*.deb "$folder" || aura_stop "the package could not be unpacked"
  rm "$folder"/*.deb
  mv "$folder" "$aura_boost_folder"
  aura_use_unpacked_boost
  [ -n "$aura_boost" ] || aura_stop "no headers of Boost 1.81 came out of the package"
}

# As many compilers at once as there are cores, and memory for: one takes up to 1.5 GB.
aura_jobs() {
  local jobs memory
  jobs=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
  [ "${memory:-1}" -lt "$jobs" ] && jobs=$memory
  [ "$jobs" -lt 1 ] && jobs=1
  echo "${AURA_JOBS:-$jobs}"
}

# aura_alone PRESET COMMAND...: one command at a time in build/PRESET; a second one waits.
aura_alone() {
  local lock=$aura_root/build/$1.lock
  shift
  mkdir -p "$aura_root/build"
  {
    flock -n 9 || { aura_say "waiting for another run in this build folder"; flock 9; }
    "$@" 9>&-
  } 9> "$lock"
}

# aura_make PRESET [TARGET...]: configures where needed, and builds.
aura_make() {
  aura_alone "$1" aura_configure "$1" && aura_alone "$1" aura_build "$@"
}

# aura_configure PRESET: does nothing when build/PRESET is as it should be.
aura_configure() {
  local folder=$aura_root/build/$1 arguments=(--preset "$1") wanted
  if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja > /dev/null; then
    export CMAKE_GENERATOR=Ninja
  fi
  if [ -n "$aura_boost" ]; then
    arguments+=("-DAURA_BOOST_INCLUDE_DIR=$aura_boost")
  fi
  wanted="$aura_root $aura_boost ${CXX:-} $(cksum < "$aura_root/CMakePresets.json")"
  if [ -e "$folder/CMakeCache.txt" ] && [ "$(cat "$folder/.configured" 2> /dev/null)" = "$wanted" ]; then
    return
  fi
  if ! (cd "$aura_root" && cmake "${arguments[@]}"); then
    [ -e "$folder/CMakeCache.txt" ] || return 1
    aura_say "configuring failed; once more without what an earlier run left in $folder"
    rm -rf "$folder/CMakeCache.txt" "$folder/CMakeFiles"
    (cd "$aura_root" && cmake "${arguments[@]}") || return 1
  fi
  echo "$wanted" > "$folder/.configured"
}

# aura_build PRESET [TARGET...]
aura_build() {
  local folder=$aura_root/build/$1
  shift
  cmake --build "$folder" -j "$(aura_jobs)" ${1:+--target "$@"}
}

# aura_ctest PRESET [ARGUMENTS of ctest]: runs tests and ends with the line `N passed, N failed` over all of them.
# Sets aura_passed, aura_failed and aura_skipped.
aura_ctest() {
  local folder=$aura_root/build/$1 name counts status=0 seconds=900
  if [ -n "${AURA_SEEDS:-}${AURA_KILLS:-}" ]; then
    seconds=86400  # a longer tier was asked for
  fi
  shift
  AURA_TALLY_DIR=$(mktemp -d)
  export AURA_TALLY_DIR
  (cd "$folder" && ctest --output-on-failure --timeout $seconds -j "$(aura_jobs)" "$@") || status=$?

  aura_passed=0 aura_failed=0 aura_skipped=0
  while read -r name; do
    # A test that was killed wrote nothing down.
    read -r -a counts < "$AURA_TALLY_DIR/$name" 2> /dev/null || counts=(0 1 0)
    aura_passed=$((aura_passed + counts[0]))
    aura_failed=$((aura_failed + counts[1]))
    aura_skipped=$((aura_skipped + counts[2]))
    if [ "${counts[2]}" -gt 0 ]; then
      aura_say "$name left out ${counts[2]}:"
      grep '^SKIPPED: ' "$AURA_TALLY_DIR/$name" >&2
    fi
  done < <(cd "$folder" && ctest -N "$@" 2> /dev/null | sed -n 's/^ *Test *#[0-9]*: \([^ ]*\).*/\1/p')
  rm -rf "$AURA_TALLY_DIR"
  if [ "$status" -ne 0 ] && [ "$aura_failed" -eq 0 ]; then
    aura_failed=1
  fi
  if [ $((aura_passed + aura_failed)) -eq 0 ]; then
    aura_say "no test ran"
    aura_failed=1
  fi
  aura_closing_line
  [ "$aura_failed" -eq 0 ]
}

aura_closing_line() {
  local skipped=""
  if [ "$aura_skipped" -gt 0 ]; then
    skipped=", $aura_skipped skipped"
  fi
  echo
  echo "$aura_passed passed, $aura_failed failed$skipped"
}
