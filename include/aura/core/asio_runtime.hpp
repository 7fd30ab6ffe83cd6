// The runtime of a real service: any Asio executor, real clocks.
#pragma once

#include <aura/core/runtime.hpp>

#include <boost/asio/compose.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

namespace aura {

/// Wraps the host's executors. Starts no thread, owns no context; both executors' contexts must outlive it.
/// May be shared between threads.
class AsioRuntime {
 public:
  /// `blocking_executor` is where disk syncs and solvers run: a pool apart from the one that serves handlers.
  /// It has no default on purpose. The seed of `random` is drawn from the system.
  AsioRuntime(boost::asio::any_io_executor executor, boost::asio::any_io_executor blocking_executor)
      : AsioRuntime(std::move(executor), std::move(blocking_executor), system_seed()) {}

  AsioRuntime(boost::asio::any_io_executor executor, boost::asio::any_io_executor blocking_executor,
              std::uint64_t seed)
      : executor_(std::move(executor)), blocking_executor_(std::move(blocking_executor)), seed_(seed) {}

  SteadyTime steady_now() const { return SteadyTime(std::chrono::steady_clock::now().time_since_epoch()); }
  WallTime wall_now() const { return WallTime(std::chrono::system_clock::now().time_since_epoch()); }
  boost::asio::any_io_executor executor() const { return executor_; }
  boost::asio::any_io_executor blocking_executor() const { return blocking_executor_; }
  Random random(std::string_view name) const { return Random::stream(seed_, name); }

  /// One steady_timer each. Cancellation of any type ends the wait with `operation_aborted`.
  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_wait_until(SteadyTime when, Token&& token) {
    const std::chrono::steady_clock::time_point expiry(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(when.time_since_epoch()));
    auto timer = std::make_unique<boost::asio::steady_timer>(executor_, expiry);
    return boost::asio::async_compose<Token, void(boost::system::error_code)>(Wait{std::move(timer)}, token,
                                                                              executor_);
  }

 private:
  struct Wait {
    std::unique_ptr<boost::asio::steady_timer> timer;
    bool begun = false;

    template <class Self>
    void operator()(Self& self, boost::system::error_code error = {}) {
      if (!std::exchange(begun, true)) {
        self.reset_cancellation_state(boost::asio::enable_total_cancellation());
        boost::asio::steady_timer& waiting = *timer;
        return waiting.async_wait(std::move(self));
      }
      timer.reset();
      self.complete(error);
    }
  };

  static std::uint64_t system_seed() {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
  }

  boost::asio::any_io_executor executor_;
  boost::asio::any_io_executor blocking_executor_;
  std::uint64_t seed_;
};

}  // namespace aura
