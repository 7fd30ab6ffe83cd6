// Dice that many threads throw without waiting for each other.
#pragma once

#include <aura/core/random.hpp>

#include <atomic>
#include <cstdint>

namespace aura::detail {

/// PCG32 XSH-RS (O'Neill 2014), its state read and written without a locked instruction: two threads may now and then
/// draw the same number, which the decisions made with it can bear. On one thread it is a function of its seed. About a
/// nanosecond.
class SharedRandom {
 public:
  explicit SharedRandom(std::uint64_t seed = 0) noexcept : state_(mix64(seed)) {}

  std::uint32_t operator()() noexcept {
    const std::uint64_t state = state_.load(std::memory_order_relaxed);
    state_.store(state * 6364136223846793005u + 1442695040888963407u, std::memory_order_relaxed);
    return static_cast<std::uint32_t>((state ^ (state >> 22)) >> (22 + (state >> 61)));
  }
  /// Uniform in [0, 1), 32 bits.
  double uniform() noexcept { return static_cast<double>((*this)()) * 0x1.0p-32; }

 private:
  std::atomic<std::uint64_t> state_;
};

}  // namespace aura::detail
