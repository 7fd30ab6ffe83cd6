// What happens to a request, and how it is taken back.
#pragma once

#include "guards.hpp"
#include "ledger.hpp"
#include "request.hpp"
#include "scenario.hpp"
#include "workers.hpp"

#include <aura/durable/saga.hpp>
#include <aura/operational/pipeline.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace gateway {

/// What the steps reach for. Outlives every run.
struct Services {
  Ledger& ledger;
  Guards& guards;
  Workers& workers;
  Faults faults;
  Scenario scenario;
  std::function<double()> trace_share;  ///< how much of the trace's time has passed, 0 to 1
  double speed = 1;  ///< so many seconds of the trace pass in one second of the runtime

  aura::Duration span(std::chrono::nanoseconds of_trace) const {
    return aura::Duration(static_cast<aura::Duration::rep>(static_cast<double>(of_trace.count()) / speed));
  }
};

/// What a worker gives back; a real one gives the text too.
struct Answer {
  std::uint32_t worker = 0;
  std::uint32_t tokens = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Answer, worker, tokens)

/// Of what cannot go back any more, or is going back: then the saga is stuck, and a person decides.
inline constexpr std::uint32_t attempts_before_stuck = 4;

namespace detail {

/// An attempt that the dice let fail before it reached the ledger.
inline aura::Result<void> reach_ledger(const Services& at, const Request& request, const aura::StepContext& step) {
  if (at.scenario.ledger_is_down(at.trace_share())) return fault(aura::ErrorClass::transient, "the ledger is down");
  if (!at.faults.happens(at.faults.ledger_busy, step.step(), request.row, step.attempt())) return {};
  return fault(aura::ErrorClass::transient, "the ledger is busy");
}

inline aura::Result<void> refund(const Services& at, const Request& request, aura::StepContext& step) {
  // As many attempts in a row as it has, and then it is stuck: until an operator asks for one more.
  if (step.attempt() <= attempts_before_stuck && at.faults.happens(at.faults.refund_broken, "refund", request.row))
    return fault(aura::ErrorClass::transient, "the refund was not accepted");
  return at.ledger.refund(step);
}

/// What the worker does: it takes its time, or fails, as seed and scenario have it.
inline boost::asio::awaitable<aura::Result<Answer>> ask_worker(const Services& at, const Request& request,
                                                               std::uint32_t worker, const aura::StepContext& step) {
  using boost::asio::use_awaitable;
  using std::chrono::minutes;
  const double now = at.trace_share();
  const std::chrono::nanoseconds usual = at.workers.span(request, worker);
  const std::chrono::nanoseconds span(static_cast<std::int64_t>(static_cast<double>(usual.count()) *
                                                                at.scenario.slowdown(at.faults.seed, worker, now)));
  if (at.faults.happens(at.faults.prompt_refused, "prompt", request.row))
    co_return fault(aura::ErrorClass::permanent, "the worker refused the prompt");
  const double ill = at.scenario.error_share(at.faults.seed, worker, now);
  if (at.faults.happens(at.faults.worker_error, "worker", request.row, step.attempt()) ||
      aura::Random::stream(at.faults.seed ^ request.row, "trouble").chance(ill)) {
    co_await step.wait(at.span(span / 3), use_awaitable);
    co_return fault(aura::ErrorClass::transient, fmt::format("worker {} was restarted", worker));
  }
  if (at.faults.happens(at.faults.worker_hangs, "hang", request.row, step.attempt()))
    co_await step.wait(at.span(minutes(10)), use_awaitable);
  co_await step.wait(at.span(span), use_awaitable);
  co_return Answer{worker, request.generated_tokens};
}

/// Through the worker's circuit breaker, and with a limit of time that counts against it. Where that worker is not to be
/// asked any more, and for another attempt, the request is placed anew. Has no effect but that it occupies its place, so
/// there is nothing to undo.
inline boost::asio::awaitable<aura::Result<Answer>> infer(const Services& at, Request request,
                                                          aura::StepContext& step) {
  aura::Result<std::uint32_t> placed = co_await at.workers.settle(request);
  if (!placed) co_return placed.error();
  const std::uint32_t worker = *placed;
  aura::Pipeline pipeline(step.runtime(), at.guards.workers.guard(Guards::key(worker)),
                          aura::Timeout{at.span(std::chrono::seconds(60))});
  aura::Result<Answer> answer =
      co_await pipeline.call([&] { return ask_worker(at, request, worker, step); }, boost::asio::use_awaitable);
  if (answer) {
    at.workers.answered(request);
  } else {
    const bool timed_out = answer.error().error_class() == aura::ErrorClass::timeout;
    at.workers.leave(request.row, timed_out ? aura::TaskEnd::timed_out : aura::TaskEnd::abandoned);
  }
  co_return answer;
}

}  // namespace detail

/// reserve → place → infer → bill → deliver → settle. A failure up to `deliver` goes back: what was billed is refunded,
/// the slot is freed, the quota released. Once the answer is delivered the saga only goes forward.
inline auto make_saga(Services& at) {
  using namespace std::chrono_literals;
  using aura::Result;
  using aura::StepContext;
  const aura::RetryPolicy thrice{.attempts_max = 3, .base = at.span(200ms), .cap = at.span(10s)};
  aura::RetryPolicy patiently = thrice;
  patiently.attempts_max = attempts_before_stuck;
  aura::RetryPolicy on = aura::RetryPolicy::forever();
  on.base = at.span(200ms);
  on.cap = at.span(30s);

  const auto reserve = [&at](const Request& request, StepContext& step) -> Result<void> {
    if (auto reached = detail::reach_ledger(at, request, step); !reached) return reached;
    return at.ledger.reserve(request, step);
  };
  const auto release = [&at](const Request& request, StepContext& step) { return at.ledger.release(request, step); };

  const auto place = [&at](const Request& request) { return at.workers.place(request); };
  const auto leave = [&at](const Request& request) { at.workers.leave(request.row, aura::TaskEnd::abandoned); };

  const auto infer = [&at](const Request& request, std::uint32_t, StepContext& step) {
    return detail::infer(at, request, step);
  };

  const auto bill = [&at](const Request& request, const Answer& answer, StepContext& step) -> Result<void> {
    if (auto reached = detail::reach_ledger(at, request, step); !reached) return reached;
    return at.ledger.bill(request, price_nano_usd(request.context_tokens, answer.tokens), step);
  };
  const auto refund = [&at](const Request& request, StepContext& step) { return detail::refund(at, request, step); };

  const auto deliver = [&at](const Request& request, const Answer&, StepContext& step) -> Result<void> {
    if (at.faults.happens(at.faults.client_gone, "client", request.row))
      return fault(aura::ErrorClass::permanent, "the client has hung up");
    return at.ledger.deliver(step);
  };

  const auto settle = [&at](const Request& request, StepContext& step) -> Result<void> {
    if (step.attempt() <= attempts_before_stuck && at.faults.happens(at.faults.settle_broken, "settle", request.row))
      return fault(aura::ErrorClass::transient, "the settlement was not accepted");
    return at.ledger.settle(request, step);
  };

  return aura::Saga{
      "request",
      aura::version{1},
      aura::step<"reserve">(reserve).undo(release).retry(thrice).undo_retry(on).guard_by(at.guards.quota).blocking(),
      aura::step<"place">(place).undo(leave).after<"reserve">().retry(on),
      aura::step<"infer">(infer).pure().after<"place">().retry(thrice).guard_by(at.guards.reachable),
      aura::step<"bill">(bill)
          .undo(refund)
          .after<"infer">()
          .retry(thrice)
          .undo_retry(patiently)
          .guard_by(at.guards.billing)
          .blocking(),
      aura::step<"deliver">(deliver).pivot().after<"infer", "bill">().retry(on).blocking(),
      aura::step<"settle">(settle)
          .retriable()
          .after<"deliver">()
          .retry(patiently)
          .guard_by(at.guards.quota)
          .blocking()};
}

}  // namespace gateway
