// One solve on the blocking executor, and who answers for it: the solver, the deadline or a cancellation.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/detail/post.hpp>
#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/wake_timer.hpp>
#include <aura/operational/placement/solve_outcome.hpp>
#include <aura/operational/placement/solve_request.hpp>
#include <aura/operational/placement/solver.hpp>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace aura::detail {

/// A solver that one call at a time may have, from its beginning to its real end.
class SolverSeat {
 public:
  SolverSeat(AnyRuntime host, SolveSessionOptions chosen) : world(host), options(chosen) {}
  SolverSeat(const SolverSeat&) = delete;
  SolverSeat& operator=(const SolverSeat&) = delete;
  virtual ~SolverSeat() = default;

  virtual SolveAnswer solve(const PlacementModel& model, const Placement& incumbent, const SolveLimits& limits) = 0;

  bool try_take() noexcept { return !taken_.exchange(true, std::memory_order_acquire); }
  void leave() noexcept { taken_.store(false, std::memory_order_release); }
  bool is_taken() const noexcept { return taken_.load(std::memory_order_acquire); }

  const AnyRuntime world;
  const SolveSessionOptions options;

 private:
  std::atomic<bool> taken_{false};
};

template <class Solver>
class SolverSeatOf final : public SolverSeat {
 public:
  SolverSeatOf(AnyRuntime host, SolveSessionOptions chosen, Solver held)
      : SolverSeat(host, chosen), solver_(std::move(held)) {}
  SolveAnswer solve(const PlacementModel& model, const Placement& incumbent, const SolveLimits& limits) override {
    return solver_.solve(model, incumbent, limits);
  }

 private:
  Solver solver_;
};

/// Everything but the solve itself happens on a strand. The job, the timer and the slot keep it alive, and it keeps the
/// seat and the problem: so a solve that nobody waits for may go on after everybody else has gone.
class SolveCall : public std::enable_shared_from_this<SolveCall> {
 public:
  using Handler = PendingHandler<Result<SolveOutcome>>;

  SolveCall(std::shared_ptr<SolverSeat> seat, SolveRequest request, Handler handler)
      : seat_(std::move(seat)),
        request_(std::move(request)),
        handler_(std::move(handler)),
        home_(boost::asio::make_strand(seat_->world.executor())) {}

  /// The seat was taken for it.
  void begin() {
    detail::post(home_, [self = shared_from_this(), held = Held(seat_)]() mutable {
      self->timer_.set(self->seat_->world, self->home_, self->request_.deadline, [self] { self->abandon(); });
      detail::post(self->seat_->world.blocking_executor(),
                   [self, held = std::move(held)]() mutable { self->work(std::move(held)); });
    });
  }

  /// From any thread.
  void request_cancel() {
    cancelled_.store(true, std::memory_order_relaxed);
    detail::post(home_, [self = shared_from_this()] {
      self->finish(Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "the solve was cancelled"));
    });
  }

  /// For a call that found the seat taken: the incumbent, at once.
  static SolveOutcome refused(const SolveRequest& request) {
    return judge(request.problem->problem(), {.reason = "a solve that was begun before still runs"},
                 request.incumbent);
  }

 private:
  /// The seat, as long as the job exists: it is left also where an executor drops the job.
  class Held {
   public:
    explicit Held(std::shared_ptr<SolverSeat> seat) noexcept : seat_(std::move(seat)) {}
    Held(Held&&) noexcept = default;
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      if (seat_ != nullptr) seat_->leave();
    }

   private:
    std::shared_ptr<SolverSeat> seat_;
  };

  /// On the blocking executor. Looks at the answer there too, as that takes time with the size of the problem.
  void work(Held held) {
    SolveOutcome outcome = judge(request_.problem->problem(), solve(), request_.incumbent);
    if (thrown_) outcome.error = *thrown_;
    auto done = [self = shared_from_this(), held = std::move(held), outcome = std::move(outcome)]() mutable {
      { const Held left(std::move(held)); }  // before the caller hears of it, and may come again
      self->finish(std::move(outcome));
    };
    // By way of the executor: in virtual time this job posts into the future, and a strand is held from the post on.
    detail::post(seat_->world.executor(), [self = shared_from_this(), done = std::move(done)]() mutable {
      boost::asio::dispatch(self->home_, std::move(done));
    });
  }

  SolveAnswer solve() {
    if (cancelled_.load(std::memory_order_relaxed)) return progress_.so_far();
    const auto now = [this] { return seat_->world.steady_now(); };
    const SolveLimits limits{.deadline = solver_deadline(now()),
                             .clock = now,
                             .gap = request_.gap,
                             .work_max = request_.work_max,
                             .cancelled = &cancelled_,
                             .progress = &progress_};
    try {
      SolveAnswer answer = seat_->solve(request_.problem->model(), request_.incumbent, limits);
      if (answer.status == SolveStatus::stopped)
        if (SolveAnswer found = progress_.so_far(); found.has_placement()) {
          found.reason = std::move(answer.reason);
          return found;
        }
      return answer;
    } catch (const std::exception& thrown) {
      thrown_ = Error(placement_errc::solver_failed, ErrorClass::permanent,
                      std::string("the solver threw: ") + thrown.what());
    } catch (...) {
      thrown_ = Error::fixed(placement_errc::solver_failed, ErrorClass::permanent, "the solver threw");
    }
    SolveAnswer found = progress_.so_far();
    found.reason = thrown_->message();
    return found;
  }

  /// A little before the caller's, so that its own answer is there in time; at most a tenth of what is left.
  SteadyTime solver_deadline(SteadyTime now) const noexcept {
    if (request_.deadline == SteadyTime::max() || request_.deadline <= now) return request_.deadline;
    return request_.deadline - std::min(seat_->options.margin, (request_.deadline - now) / 10);
  }

  void abandon() {
    cancelled_.store(true, std::memory_order_relaxed);
    SolveAnswer found = progress_.so_far();
    found.reason = "the deadline came before the solver's answer";
    SolveOutcome outcome = judge(request_.problem->problem(), std::move(found), request_.incumbent);
    outcome.was_abandoned = true;
    finish(std::move(outcome));
  }

  void finish(Result<SolveOutcome> result) {
    timer_.cancel();
    handler_.answer(std::move(result));
  }

  const std::shared_ptr<SolverSeat> seat_;
  const SolveRequest request_;
  Handler handler_;
  const WakeTimer::Strand home_;
  WakeTimer timer_;
  SolveProgress progress_;
  std::atomic<bool> cancelled_{false};
  std::optional<Error> thrown_;
};

}  // namespace aura::detail
