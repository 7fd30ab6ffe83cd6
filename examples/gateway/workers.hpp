// The workers that answer requests: how long they take, how full they are.
#pragma once

#include "request.hpp"

#include <aura/core/guard.hpp>
#include <aura/core/result.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
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
/// dies, and learns again from the runs that come back: `occupy` is idempotent, and so is `leave`.
/// Shared between threads.
class Workers {
 public:
  explicit Workers(WorkerShape shape = {}) : shape_(shape), occupied_(shape.workers, 0) {}

  /// The emptiest worker. Rejected where every slot is taken.
  aura::Result<std::uint32_t> place(std::uint32_t row) {
    const std::lock_guard lock(mutex_);
    if (const auto known = at_.find(row); known != at_.end()) return known->second;
    const auto emptiest = std::min_element(occupied_.begin(), occupied_.end());
    if (*emptiest >= shape_.slots) return full();
    ++*emptiest;
    const auto worker = static_cast<std::uint32_t>(emptiest - occupied_.begin());
    at_.emplace(row, worker);
    return worker;
  }

  /// The sequence runs there, whether or not this process placed it. Gives how long it will take.
  std::chrono::nanoseconds occupy(const Request& request, std::uint32_t worker) {
    const std::lock_guard lock(mutex_);
    worker %= shape_.workers;
    if (at_.emplace(request.row, worker).second) ++occupied_[worker];
    const double others = occupied_[worker] - 1;
    const double prefill = request.context_tokens / shape_.prefill_tokens_per_second;
    const double decode = request.generated_tokens * std::chrono::duration<double>(shape_.decode_token).count();
    const std::chrono::duration<double> span(prefill + decode * (1 + shape_.crowding * others));
    return std::chrono::duration_cast<std::chrono::nanoseconds>(span);
  }

  void leave(std::uint32_t row) {
    const std::lock_guard lock(mutex_);
    const auto known = at_.find(row);
    if (known == at_.end()) return;
    --occupied_[known->second];
    at_.erase(known);
  }

  std::size_t occupied() const {
    const std::lock_guard lock(mutex_);
    return at_.size();
  }

  // As a guard of the step that places: while every slot is taken a run waits here, and burns no attempt.
  struct Permit {
    void record(const aura::AttemptOutcome&) {}
  };
  aura::Result<Permit> try_acquire(aura::SteadyTime) {
    const std::lock_guard lock(mutex_);
    if (*std::min_element(occupied_.begin(), occupied_.end()) >= shape_.slots) return full();
    return Permit{};
  }

 private:
  static aura::Error full() {
    return aura::Error::fixed("gateway", 3, aura::ErrorClass::rejected, "every slot of every worker is taken")
        .with_retry_after(std::chrono::milliseconds(250));
  }

  const WorkerShape shape_;
  mutable std::mutex mutex_;
  std::vector<std::uint32_t> occupied_;
  std::map<std::uint32_t, std::uint32_t> at_;  ///< worker by row
};

static_assert(aura::guard<Workers>);

}  // namespace gateway
