// The injected world of one host: its clocks, its executors, its dice, and a way to wait.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/system/error_code.hpp>

#include <concepts>
#include <string_view>
#include <utility>

namespace aura {

using WaitHandler = boost::asio::any_completion_handler<void(boost::system::error_code)>;

/// What every shell asks of its host. A runtime outlives whatever was made with it and may be shared between threads.
///
/// - `steady_now()`, `wall_now()`: the two clocks.
/// - `executor()`: where handlers run. Nothing that AURA posts here blocks.
/// - `blocking_executor()`: where calls that block run (a disk sync, a solver). The host names it; it may be a small
///   thread pool, and must not be the other one.
/// - `random(name)`: a generator of its own for each name, so that one more draw in one place changes no other.
/// - `async_wait_until(time, token)`: completes with no error at that time, or with `operation_aborted` when its
///   cancellation slot is signalled. Signature `void(error_code)`.
template <class R>
concept runtime = requires(R& world, std::string_view name, SteadyTime when, WaitHandler handler) {
  { world.steady_now() } -> std::same_as<SteadyTime>;
  { world.wall_now() } -> std::same_as<WallTime>;
  { world.executor() } -> std::convertible_to<boost::asio::any_io_executor>;
  { world.blocking_executor() } -> std::convertible_to<boost::asio::any_io_executor>;
  { world.random(name) } -> std::same_as<Random>;
  world.async_wait_until(when, std::move(handler));
};

/// Any runtime behind one non-template type: what shells hold and what a step's context waits through.
/// A reference of one pointer's size twice, cheap to copy; the runtime it was made from must outlive it.
/// Costs a virtual call, and one allocation a wait.
class AnyRuntime {
 public:
  template <class R>
    requires(!std::same_as<std::remove_const_t<R>, AnyRuntime>) && runtime<R>
  AnyRuntime(R& world) noexcept : world_(&world), verbs_(&verbs_for<R>) {}  // NOLINT: a reference to anything

  SteadyTime steady_now() const { return verbs_->steady_now(world_); }
  WallTime wall_now() const { return verbs_->wall_now(world_); }
  boost::asio::any_io_executor executor() const { return verbs_->executor(world_); }
  boost::asio::any_io_executor blocking_executor() const { return verbs_->blocking_executor(world_); }
  Random random(std::string_view name) const { return verbs_->random(world_, name); }

  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_wait_until(SteadyTime when, Token&& token) const {
    return boost::asio::async_initiate<Token, void(boost::system::error_code)>(
        [world = *this](auto handler, SteadyTime at) {
          world.verbs_->wait(world.world_, at, WaitHandler(std::move(handler)));
        },
        token, when);
  }

  template <boost::asio::completion_token_for<void(boost::system::error_code)> Token>
  auto async_wait_for(Duration span, Token&& token) const {
    return async_wait_until(saturating_add(steady_now(), span), std::forward<Token>(token));
  }

 private:
  struct Verbs {
    SteadyTime (*steady_now)(void*);
    WallTime (*wall_now)(void*);
    boost::asio::any_io_executor (*executor)(void*);
    boost::asio::any_io_executor (*blocking_executor)(void*);
    Random (*random)(void*, std::string_view);
    void (*wait)(void*, SteadyTime, WaitHandler);
  };

  template <class R>
  static R& as(void* world) noexcept {
    return *static_cast<R*>(world);
  }

  template <class R>
  static constexpr Verbs verbs_for{
      [](void* world) -> SteadyTime { return as<R>(world).steady_now(); },
      [](void* world) -> WallTime { return as<R>(world).wall_now(); },
      [](void* world) -> boost::asio::any_io_executor { return as<R>(world).executor(); },
      [](void* world) -> boost::asio::any_io_executor { return as<R>(world).blocking_executor(); },
      [](void* world, std::string_view name) -> Random { return as<R>(world).random(name); },
      [](void* world, SteadyTime when, WaitHandler handler) {
        as<R>(world).async_wait_until(when, std::move(handler));
      },
  };

  void* world_;
  const Verbs* verbs_;
};

}  // namespace aura
