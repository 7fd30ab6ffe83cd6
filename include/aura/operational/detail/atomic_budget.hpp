// A retry budget that threads share.
#pragma once

#include <aura/core/retry.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace aura::detail {

/// As RetryBudget, in millionths of a token, lock-free: earns on success, pays a whole token for an extra attempt.
class AtomicBudget {
 public:
  explicit AtomicBudget(RetryBudget::Options options) noexcept
      : earned_(to_parts(options.ratio)), parts_max_(to_parts(options.tokens_max)), parts_(parts_max_) {}

  void deposit() noexcept {
    std::int64_t now = parts_.load(std::memory_order_relaxed);
    while (now < parts_max_ &&
           !parts_.compare_exchange_weak(now, std::min(parts_max_, now + earned_), std::memory_order_relaxed)) {
    }
  }
  bool withdraw() noexcept {
    std::int64_t now = parts_.load(std::memory_order_relaxed);
    while (now >= token)
      if (parts_.compare_exchange_weak(now, now - token, std::memory_order_relaxed)) return true;
    return false;
  }
  double balance() const noexcept {
    return static_cast<double>(parts_.load(std::memory_order_relaxed)) / static_cast<double>(token);
  }

 private:
  static constexpr std::int64_t token = 1'000'000;
  static std::int64_t to_parts(double tokens) noexcept {
    return static_cast<std::int64_t>(std::clamp(tokens, 0.0, 1e9) * static_cast<double>(token));
  }

  std::int64_t earned_, parts_max_;
  std::atomic<std::int64_t> parts_;
};

}  // namespace aura::detail
