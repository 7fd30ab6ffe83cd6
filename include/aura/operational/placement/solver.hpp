// What a placement solver is: problem, start and limits in; placement, cost and proven bound out.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/placement/model.hpp>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace aura {

enum class SolveStatus : std::uint8_t {
  optimal,     ///< nothing is cheaper by more than the gap that was asked for, and the bound proves it
  feasible,    ///< a placement, and a bound that leaves a gap: the limits were reached
  infeasible,  ///< proven: there is no placement. `reason` says why
  stopped,     ///< the limits were reached before there was any placement
};

constexpr std::string_view to_string(SolveStatus status) noexcept {
  switch (status) {
    case SolveStatus::optimal: return "optimal";
    case SolveStatus::feasible: return "feasible";
    case SolveStatus::infeasible: return "infeasible";
    case SolveStatus::stopped: return "stopped";
  }
  return "unknown";
}

struct SolveAnswer {
  SolveStatus status = SolveStatus::stopped;
  Placement placement{};  ///< empty where there is none
  double cost = std::numeric_limits<double>::infinity();
  double lower_bound = -std::numeric_limits<double>::infinity();  ///< no placement costs less: proven
  std::string reason{};
  std::uint64_t work = 0;  ///< in the solver's own units: deterministic, unlike time

  bool has_placement() const noexcept { return status == SolveStatus::optimal || status == SolveStatus::feasible; }
  /// (cost − bound) / |cost|: by so much at most could it be cheaper. Infinite where nothing is proven.
  double gap() const noexcept {
    const double over = cost - lower_bound;
    if (over <= 0) return 0;
    return cost == 0 ? std::numeric_limits<double>::infinity() : over / (cost < 0 ? -cost : cost);
  }
};

/// The clock that a solver is handed, since none reads one by itself. Cheap to copy; what it was made from outlives it.
class SolveClock {
 public:
  constexpr SolveClock() noexcept = default;  ///< stands still: only work and cancellation limit then
  template <class Now>
    requires std::same_as<std::invoke_result_t<const Now&>, SteadyTime>
  constexpr SolveClock(const Now& now) noexcept  // NOLINT: a reference to anything that tells the time
      : source_(&now), call_([](const void* source) { return (*static_cast<const Now*>(source))(); }) {}
  SteadyTime operator()() const { return call_ == nullptr ? SteadyTime{} : call_(source_); }

 private:
  const void* source_ = nullptr;
  SteadyTime (*call_)(const void*) = nullptr;
};

/// Where a solver leaves what it found so far, so that whoever waits can take it at the deadline. May be shared.
class SolveProgress {
 public:
  /// `placement` keeps every constraint. Kept where it is cheaper than what was there.
  void found(std::span<const NodeIndex> placement, double cost) {
    const std::lock_guard lock(mutex_);
    if (cost >= cost_) return;
    placement_.assign(placement.begin(), placement.end());
    cost_ = cost;
  }
  void proved(double lower_bound) {
    const std::lock_guard lock(mutex_);
    if (lower_bound > lower_bound_) lower_bound_ = lower_bound;
  }
  /// As an answer: feasible, or stopped where nothing was found yet.
  SolveAnswer so_far() const {
    const std::lock_guard lock(mutex_);
    SolveAnswer answer{.placement = placement_, .cost = cost_, .lower_bound = lower_bound_};
    if (cost_ < std::numeric_limits<double>::infinity()) answer.status = SolveStatus::feasible;
    return answer;
  }

 private:
  mutable std::mutex mutex_;
  Placement placement_;
  double cost_ = std::numeric_limits<double>::infinity();
  double lower_bound_ = -std::numeric_limits<double>::infinity();
};

struct SolveLimits {
  SteadyTime deadline = SteadyTime::max();
  SolveClock clock{};
  double gap = 0;  ///< stop where the gap is at most this: 0.01 is 1%
  std::uint64_t work_max =
      std::numeric_limits<std::uint64_t>::max();  ///< stop after so much work: the same everywhere
  const std::atomic<bool>* cancelled = nullptr;
  SolveProgress* progress = nullptr;

  bool is_cancelled() const noexcept { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
  /// Reads the clock.
  bool is_over() const { return is_cancelled() || (deadline != SteadyTime::max() && clock() >= deadline); }
};

/// Anything that can place. `incumbent` is a placement to start from, whole or not: an entry may be wrong for this
/// model, and it may be empty. The solver keeps what it learned between calls in itself; it is called by one thread at
/// a time. What it answers is verified before it is used, so a solver that errs costs its time and nothing else.
template <class S>
concept solver = requires(S& instance, const PlacementModel& model, std::span<const NodeIndex> incumbent,
                          const SolveLimits& limits) {
  { instance.solve(model, incumbent, limits) } -> std::same_as<SolveAnswer>;
};

}  // namespace aura
