// A time that costs a load: for what is asked so often that a look at the clock would be most of it.
#pragma once

#include <aura/core/runtime.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/compose.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

namespace aura {

/// The runtime's steady time as it was a little while ago. `now()` is behind it by at most the resolution, and by what
/// the executor is late: one that is busy for a second has a clock that stands for a second. It never goes back.
/// May be shared between threads. The runtime must outlive it.
///
///     aura::CoarseClock clock(runtime);
///     clock.async_run(detached);                    // or call refresh() in a loop of your own
///     breaker.try_acquire(clock.now());
class CoarseClock {
 public:
  explicit CoarseClock(AnyRuntime world, Duration resolution = std::chrono::milliseconds(1))
      : world_(world), resolution_(resolution), now_(world.steady_now().time_since_epoch().count()) {}
  CoarseClock(const CoarseClock&) = delete;
  CoarseClock& operator=(const CoarseClock&) = delete;

  /// One relaxed load.
  SteadyTime now() const noexcept { return SteadyTime(Duration(now_.load(std::memory_order_relaxed))); }
  Duration resolution() const noexcept { return resolution_; }

  /// Looks at the runtime's clock.
  void refresh() noexcept {
    const std::int64_t at = world_.steady_now().time_since_epoch().count();
    std::int64_t seen = now_.load(std::memory_order_relaxed);
    while (seen < at && !now_.compare_exchange_weak(seen, at, std::memory_order_relaxed)) {
    }
  }

  /// Refreshes it, once in each resolution, until it is cancelled (by cancellation of any type): then it completes with
  /// `operation_aborted`. Signature `void(error_code)`. The clock must outlive it. One wait through the runtime each time.
  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_run(Token&& token) {
    return boost::asio::async_compose<Token, void(boost::system::error_code)>(Run{*this}, token, world_.executor());
  }

 private:
  struct Run {
    CoarseClock& clock;
    bool begun = false;

    template <class Self>
    void operator()(Self& self, boost::system::error_code error = {}) {
      if (!std::exchange(begun, true)) self.reset_cancellation_state(boost::asio::enable_total_cancellation());
      if (error) return self.complete(error);
      CoarseClock& at = clock;
      at.refresh();
      at.world_.async_wait_for(at.resolution_, std::move(self));
    }
  };

  AnyRuntime world_;
  Duration resolution_;
  std::atomic<std::int64_t> now_;
};

}  // namespace aura
