// How much of the heap is in use: glibc's own count.
#pragma once

#include <cstddef>
#include <malloc.h>

namespace aura::bench {

inline std::size_t heap_bytes() {
  const struct mallinfo2 now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

}  // namespace aura::bench
