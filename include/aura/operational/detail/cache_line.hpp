// What two threads must not share if one of them writes.
#pragma once

#include <cstddef>

namespace aura::detail {

/// Of x86-64 and most of ARM. Not std::hardware_destructive_interference_size, of which g++ warns that it changes with
/// the flags of a build, and so would the layout.
inline constexpr std::size_t cache_line = 64;

}  // namespace aura::detail
