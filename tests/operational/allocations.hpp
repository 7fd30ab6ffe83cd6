// How often this thread has allocated.
#pragma once

#include <cstdint>

/// Calls of operator new on this thread so far.
std::uint64_t allocations_here() noexcept;
