// Any solver, asynchronously: it runs where calls may block, and its caller has an answer at the deadline.
#pragma once

#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/placement/detail/solve_call.hpp>
#include <aura/operational/placement/solve_outcome.hpp>
#include <aura/operational/placement/solve_request.hpp>
#include <aura/operational/placement/solver.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <memory>
#include <utility>

namespace aura {

/// Holds a solver, and with it what the solver learns from call to call.
///
///     SolveSession session(runtime, glpk::GlpkSolver());
///     const auto outcome = co_await session.async_solve({.problem = *sound, .deadline = soon}, use_awaitable);
///
/// What is handed out was accepted by `PlacementVerifier`, and costs no more than the incumbent where that holds. An
/// answer that does not is put aside for the incumbent, and `SolveOutcome::error` says why.
///
/// A handle: moves, is not copied. May be used by one thread at a time; what it runs may run on others. Destroying it is
/// safe at any time: what was begun goes on, and completes.
template <solver Solver>
class SolveSession {
 public:
  using Options = SolveSessionOptions;

  explicit SolveSession(AnyRuntime world, Solver held = {}, Options options = {})
      : seat_(std::make_shared<detail::SolverSeatOf<Solver>>(world, options, std::move(held))) {}

  /// Solves on the blocking executor, one call at a time. Signature `void(Result<SolveOutcome>)`.
  ///
  /// - At the deadline it completes with the best that was found until then, or else with the incumbent; the solve is told
  ///   to stop, and drains behind. While it does, or while a former call waits, a further call completes at once with its
  ///   incumbent, feasible or else stopped, and a reason that says so: at most one solve drains.
  /// - Cancellation of any type completes it with the error core/cancelled, and the solve is told to stop.
  /// - It never completes within the initiation; its handler runs on its associated executor, or on the runtime's.
  template <boost::asio::completion_token_for<void(Result<SolveOutcome>)> Token>
  auto async_solve(SolveRequest request, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<SolveOutcome>)>(
        [seat = seat_](auto handler, SolveRequest wanted) { begin(seat, std::move(wanted), std::move(handler)); },
        token, std::move(request));
  }

  /// A solve runs, whether or not somebody waits for it.
  bool is_busy() const noexcept { return seat_->is_taken(); }

 private:
  template <class Handler>
  static void begin(const std::shared_ptr<detail::SolverSeat>& seat, SolveRequest request, Handler handler) {
    const auto slot = boost::asio::get_associated_cancellation_slot(handler);
    detail::SolveCall::Handler pending(std::move(handler), seat->world.executor());
    if (!seat->try_take()) return pending.answer(detail::SolveCall::refused(request));
    const auto call = std::make_shared<detail::SolveCall>(seat, std::move(request), std::move(pending));
    if (auto connected = slot; connected.is_connected())
      connected.assign([weak = std::weak_ptr(call)](boost::asio::cancellation_type type) {
        if (type == boost::asio::cancellation_type::none) return;
        if (const auto alive = weak.lock()) alive->request_cancel();
      });
    call->begin();
  }

  std::shared_ptr<detail::SolverSeat> seat_;
};

}  // namespace aura
