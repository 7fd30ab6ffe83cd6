// How many seeds a property is tried with, and how a failure says how to repeat itself.
#pragma once

#include "support/catch.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

/// Calls `check(seed)` for seeds 1 to `in_ci`, or to AURA_SEEDS where that is set. AURA_SEED=n runs that one alone. A
/// failure prints the seed and the command that repeats it.
template <class Check>
void for_each_seed(std::string_view folder, std::string_view test, std::uint64_t in_ci, Check check) {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
  };
  const std::uint64_t only = number("AURA_SEED", 0);
  const std::uint64_t last = only != 0 ? only : number("AURA_SEEDS", in_ci);
  for (std::uint64_t seed = only != 0 ? only : 1; seed <= last; ++seed) {
    INFO("seed " << seed << "; repeat with: AURA_SEED=" << seed << " build/dev/tests/test_" << folder << " \"" << test
                 << "\"; more with AURA_SEEDS=n");
    check(seed);
  }
}
