// Counts in place of the allocator, in a file of its own, so that the compiler does not see through it.
#include "operational/allocations.hpp"

#include <cstdlib>
#include <new>

namespace {
thread_local std::uint64_t count = 0;
}

std::uint64_t allocations_here() noexcept { return count; }

void* operator new(std::size_t size) {
  ++count;
  if (void* const place = std::malloc(size == 0 ? 1 : size)) return place;
  throw std::bad_alloc();
}
void operator delete(void* place) noexcept { std::free(place); }
void operator delete(void* place, std::size_t) noexcept { std::free(place); }
