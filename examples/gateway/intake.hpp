// How requests come in: through a router, the interactive ones first, and acknowledged when the journal has them.
#pragma once

#include "progress.hpp"
#include "worker_shape.hpp"

#include <aura/core/runtime.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/operational/signal_router.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gateway {

/// A request is never lost here: it is late rather than dropped, and where a class is full, its sender waits.
inline std::vector<aura::SignalClass> request_classes() {
  std::vector<aura::SignalClass> classes(2);
  classes[0].name = "interactive";
  classes[0].weight = 4;
  classes[1].name = "bulk";
  for (aura::SignalClass& each : classes) {
    each.capacity_max = 512;
    each.late = aura::LatePolicy::deliver;
    each.feasibility = false;
  }
  return classes;
}

template <class Runner, class Saga>
class Intake {
 public:
  using Router = aura::SignalRouter<Request>;

  /// `speed`: so many seconds of the trace pass in one of the runtime. All must outlive it.
  Intake(aura::AnyRuntime world, Runner& runner, const Saga& saga, Meter& meter, double speed)
      : world_(world),
        meter_(meter),
        speed_(speed),
        router_(world, {.classes = request_classes(), .parallel_max = 256, .name = "requests"},
                [&runner, &saga](Router::signal_type& signal, aura::SignalDone done) {
                  aura::SagaStart extra{.attributes = {{"tenant", signal.payload.tenant}}};
                  runner.start(
                      saga, run_of(signal.payload.row), signal.payload,
                      [done = std::move(done)](aura::Result<void> begun) { done(std::move(begun)); },
                      std::move(extra));
                }) {}

  /// Hands a request in; waits where there is no room for it.
  boost::asio::awaitable<void> take(Request request) {
    using namespace std::chrono_literals;
    const RequestClass which = class_of(request);
    const auto index = static_cast<std::uint8_t>(which);
    const aura::Duration within = which == RequestClass::interactive ? 2s : 60s;
    if (router_.credits(index) == 0) {
      aura::Result<void> room = co_await router_.await_credits(index, 1, boost::asio::use_awaitable);
      room.value();
    }
    ++meter_.starting;
    Router::signal_type signal{.key = run_of(request.row).str(), .class_index = index};
    signal.deadline = world_.steady_now() +
                      aura::Duration(static_cast<aura::Duration::rep>(static_cast<double>(within.count()) / speed_));
    signal.payload = std::move(request);
    router_.send(std::move(signal), [&meter = meter_](aura::Result<void> begun) {
      --meter.starting;
      if (begun) return;
      ++meter.lost;
      meter.trouble(begun.error());
    });
  }

  aura::SignalClassStats stats(RequestClass which) const { return router_.stats(static_cast<std::uint8_t>(which)); }

 private:
  aura::AnyRuntime world_;
  Meter& meter_;
  const double speed_;
  Router router_;
};

}  // namespace gateway
