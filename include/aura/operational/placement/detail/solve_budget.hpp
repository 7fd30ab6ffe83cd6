// How much a solver may still do: counts its work, and looks at the clock now and then.
#pragma once

#include <aura/operational/placement/solver.hpp>

#include <cstdint>

namespace aura::detail {

class SolveBudget {
 public:
  /// One unit is about the time to look at one choice of one task, some nanoseconds.
  static constexpr std::uint64_t work_between_looks = 10'000;

  explicit SolveBudget(const SolveLimits& limits) : limits_(limits) {}

  const SolveLimits& limits() const noexcept { return limits_; }
  std::uint64_t work() const noexcept { return work_; }

  /// True where the limits are reached; from then on it stays so.
  bool spend(std::uint64_t work) {
    work_ += work;
    if (over_) return true;
    if (work_ >= limits_.work_max) return over_ = true;
    if (work_ < next_look_) return false;
    next_look_ = work_ + work_between_looks;
    return over_ = limits_.is_over();
  }
  bool is_over() const noexcept { return over_; }

 private:
  const SolveLimits& limits_;
  std::uint64_t work_ = 0, next_look_ = 0;
  bool over_ = false;
};

}  // namespace aura::detail
