// The workers that answer requests: how long they take, how full they are.
#pragma once

#include "request.hpp"

#include <aura/core/guard.hpp>
#include <aura/core/result.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace gateway {

/// A worker as LLM servers behave: it reads the prompt at once (prefill), then writes token after token (decode), and
/// each further sequence in its batch makes every token a little slower.
struct WorkerShape {
  std::uint32_t workers = 8;
  std::uint32_t slots = 16;  ///< sequences in one worker's batch
  double prefill_tokens_per_second = 8000;
  std::chrono::microseconds decode_token{18'000};
  double crowding = 0.02;  ///< slower by this part for each other sequence
};

/// Keeps in memory who occupies which slot, as a scheduler in front of real workers would. It forgets when the process
/// dies, and learns again from the runs that come back: `settle` is idempotent, and so is `leave`.
/// Shared between threads.
class Workers {
 public:
  /// `closed_for(worker, now)`: how long it is not to be asked; zero where it may be.
  using ClosedFor = std::function<aura::Duration(std::uint32_t worker, aura::SteadyTime now)>;

  explicit Workers(ClosedFor closed_for, WorkerShape shape = {})
      : shape_(shape), closed_for_(std::move(closed_for)), occupied_(shape.workers, 0) {}

  /// The emptiest of those that may be asked. Rejected where none of them has a slot.
  aura::Result<std::uint32_t> place(std::uint32_t row, aura::SteadyTime now) {
    const std::lock_guard lock(mutex_);
    if (const auto known = at_.find(row); known != at_.end()) return known->second;
    const auto found = emptiest(now);
    if (found) take(row, *found);
    return found;
  }

  /// Where it runs: where it was placed, by this process or one before it, unless that worker is not to be asked now and
  /// another one has a slot.
  std::uint32_t settle(std::uint32_t row, std::uint32_t placed, aura::SteadyTime now) {
    const std::lock_guard lock(mutex_);
    if (!at_.contains(row)) take(row, placed % shape_.workers);
    const auto known = at_.find(row);
    if (closed_for_(known->second, now) == aura::Duration::zero()) return known->second;
    const auto found = emptiest(now);
    if (!found) return known->second;
    free(known);
    take(row, *found);
    return *found;
  }

  /// How long the sequence will take there.
  std::chrono::nanoseconds span(const Request& request, std::uint32_t worker) const {
    const std::lock_guard lock(mutex_);
    const double others = occupied_[worker] - 1;
    const double prefill = request.context_tokens / shape_.prefill_tokens_per_second;
    const double decode = request.generated_tokens * std::chrono::duration<double>(shape_.decode_token).count();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(prefill + decode * (1 + shape_.crowding * others)));
  }

  void leave(std::uint32_t row) {
    const std::lock_guard lock(mutex_);
    const auto known = at_.find(row);
    if (known != at_.end()) free(known);
  }

  std::size_t occupied() const {
    const std::lock_guard lock(mutex_);
    return at_.size();
  }

  // As a guard of the step that places: while no worker that may be asked has a slot, a run waits here, and burns no
  // attempt.
  struct Permit {
    void record(const aura::AttemptOutcome&) {}
  };
  aura::Result<Permit> try_acquire(aura::SteadyTime now) {
    const std::lock_guard lock(mutex_);
    if (const auto found = emptiest(now); !found) return found.error();
    return Permit{};
  }

 private:
  aura::Result<std::uint32_t> emptiest(aura::SteadyTime now) const {
    std::optional<std::uint32_t> best;
    for (std::uint32_t worker = 0; worker < shape_.workers; ++worker)
      if (occupied_[worker] < shape_.slots && closed_for_(worker, now) == aura::Duration::zero() &&
          (!best || occupied_[worker] < occupied_[*best]))
        best = worker;
    if (best) return *best;
    return aura::Error::fixed("gateway", 3, aura::ErrorClass::rejected, "no worker that may be asked has a slot")
        .with_retry_after(std::chrono::milliseconds(250));
  }
  void take(std::uint32_t row, std::uint32_t worker) {
    ++occupied_[worker];
    at_.emplace(row, worker);
  }
  void free(std::map<std::uint32_t, std::uint32_t>::iterator known) {
    --occupied_[known->second];
    at_.erase(known);
  }

  const WorkerShape shape_;
  const ClosedFor closed_for_;
  mutable std::mutex mutex_;
  std::vector<std::uint32_t> occupied_;
  std::map<std::uint32_t, std::uint32_t> at_;  ///< worker by row
};

static_assert(aura::guard<Workers>);

}  // namespace gateway
