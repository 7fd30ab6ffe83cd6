// One call through a pipeline: rounds of attempts, and what each attempt has to pass.
#pragma once

#include <aura/operational/detail/action.hpp>
#include <aura/operational/detail/pipeline_parts.hpp>
#include <aura/operational/detail/serial_call.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/strand.hpp>

#include <type_traits>
#include <vector>

namespace aura::detail {

/// One attempt, from its first permit to its end.
template <class State>
struct PipelineLeg {
  using enum PipelineRole;

  bool busy = false;
  bool settled = false;
  std::uint32_t round = 0;
  SteadyTime begun{};
  boost::asio::cancellation_signal signal;
  CallTimer limit;
  [[no_unique_address]] typename permit_in<State, limiter>::type token;
  [[no_unique_address]] typename permit_in<State, breaker>::type probe;
  [[no_unique_address]] typename permit_in<State, bulkhead>::type place;
};

/// A round is one attempt and its hedges. A leg is one attempt. A leg is settled when it has counted for its round, the
/// breaker and the call; it ends when its action has really ended, which may be later.
template <class State, class F, class Handler>
class PipelineCall final : public SerialCall<PipelineCall<State, F, Handler>, State> {
  using Base = SerialCall<PipelineCall<State, F, Handler>, State>;
  friend Base;
  using Base::arm, Base::executor_, Base::finished_, Base::post_step, Base::self, Base::serially, Base::state_;

 public:
  using T = action_value_t<F>;
  using enum PipelineRole;

  PipelineCall(std::shared_ptr<State> state, F act, Handler handler)
      : Base(std::move(state)),
        action_(std::move(act)),
        work_(boost::asio::prefer(boost::asio::get_associated_executor(handler, executor_),
                                  boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)) {}
  ~PipelineCall() {
    if (counted_) state_->calls->end();  // its executor died
  }

  void begin() {
    counted_ = state_->calls->begin();
    if (!counted_) return post_step([](PipelineCall& call) { call.complete(rejection(rejection_errc::draining)); });
    auto slot = boost::asio::get_associated_cancellation_slot(*handler_);
    if (slot.is_connected())
      slot.assign([weak = this->weak_from_this()](boost::asio::cancellation_type) {
        if (const auto alive = weak.lock()) alive->request_cancel();
      });
    const auto run = [](PipelineCall& call) {
      if (call.cancel_requested()) return call.finish(Base::cancelled());
      call.began_ = call.now();
      call.start_round(call.began_);
    };
    if constexpr (plain)
      post_step(run);
    else
      serially(run);
  }

 private:
  static constexpr bool plain = is_plain_action<F>;
  template <PipelineRole Role>
  static constexpr bool has = State::template has<Role>;
  static constexpr bool hedged = has<hedge> && !plain;
  static constexpr bool timed = hedged || has<breaker>;  // somebody asks for latencies
  static constexpr bool asks_the_time = timed || has<retry> || has<limiter>;

  using Leg = PipelineLeg<State>;
  using LegPtr = std::shared_ptr<Leg>;  // of the first one: it is part of the call

  template <PipelineRole Role>
  auto& part() {
    return state_->template part<Role>();
  }

  SteadyTime now() const {
    if constexpr (asks_the_time)
      return state_->world.steady_now();
    else
      return {};
  }

  // A round.

  void start_round(SteadyTime at) {
    ++attempts_;
    ++round_;
    legs_begun_ = 0;
    legs_in_round_ = 0;
    if constexpr (hedged) part<hedge>().begun();
    start_leg(at);
  }

  /// Another leg, unless this round's newest has answered by then.
  void arm_hedge(std::uint32_t round) {
    if (round != round_) return;
    if (legs_begun_ >= part<hedge>().attempts_max()) return;
    const auto delay = part<hedge>().delay();
    if (!delay) return;
    arm(hedge_timer_, *delay, nullptr, [round](PipelineCall& call) {
      if (round != call.round_ || call.legs_in_round_ == 0) return;
      if (call.template part<hedge>().try_begin(call.legs_begun_)) call.start_leg(call.now());
    });
  }

  void leg_answered(std::uint32_t round, Result<T> result) {
    if (finished_ || round != round_) return;
    --legs_in_round_;
    if (result) {
      if constexpr (has<retry>) part<retry>().succeeded();
      return finish(std::move(result));
    }
    if (legs_in_round_ != 0) return;  // another one may still succeed
    if constexpr (hedged) hedge_timer_.disarm();
    round_failed(result.error());
  }

  void round_failed(const Error& error) {
    if constexpr (has<retry>) {
      Random dice = state_->dice();
      const auto wait = part<retry>().next(attempts_, error, now() - began_, dice);
      if (wait)
        return serially([span = *wait](PipelineCall& call) {
          call.arm(call.retry_timer_, span, nullptr, [](PipelineCall& later) { later.start_round(later.now()); });
        });
    }
    give_up(error);
  }

  void give_up(const Error& error) {
    if constexpr (has<fallback>) {
      if (part<fallback>().applies_to(error)) {
        auto instead = [&with = part<fallback>(), error] { return with(error); };
        if constexpr (is_plain_action<decltype(instead)>)
          return fallback_answered(run_plain_action(instead));
        else
          return serially(
              [instead = std::move(instead)](PipelineCall& call) mutable { call.await(std::move(instead)); });
      }
    }
    finish(error);
  }

  template <class Instead>
  void await(Instead instead) {
    using U = action_value_t<Instead>;
    auto done = [self = self()](Result<U> result) { self->fallback_answered(std::move(result)); };
    continue_action(executor_, std::move(instead),
                    boost::asio::bind_cancellation_slot(fallback_signal_.slot(), std::move(done)));
  }
  template <class U>
  void fallback_answered(Result<U> result) {
    if constexpr (std::is_same_v<U, T>)
      finish(std::move(result));
    else if (result)
      finish(Result<T>(std::move(*result)));
    else
      finish(Result<T>(result.error()));
  }

  // A leg: limiter, breaker, bulkhead, faults, action.

  LegPtr take_leg() {
    if (!first_.busy) return LegPtr(self(), &first_);
    more_.push_back(std::make_shared<Leg>());
    return more_.back();
  }

  void start_leg(SteadyTime at) {
    const LegPtr leg = take_leg();
    leg->busy = true;
    leg->settled = false;
    leg->round = round_;
    ++legs_begun_;
    ++legs_in_round_;
    pass_limiter(leg, at);
  }

  void pass_limiter(const LegPtr& leg, SteadyTime at) {
    if constexpr (has<limiter>) {
      auto token = part<limiter>().try_acquire(at);
      if (!token) {
        if (!part<limiter>().has_queue()) return leg_refused(leg, token.error());
        return serially([leg](PipelineCall& call) {
          call.template part<limiter>().async_acquire(call.template on_permit<limiter>(leg));
        });
      }
      leg->token.emplace(std::move(*token));
    }
    pass_breaker(leg, at);
  }

  void pass_breaker(const LegPtr& leg, SteadyTime at) {
    if constexpr (has<breaker>) {
      auto probe = part<breaker>().try_acquire(at);
      if (!probe) return leg_refused(leg, probe.error());
      leg->probe.emplace(std::move(*probe));
    }
    pass_bulkhead(leg, at);
  }

  void pass_bulkhead(const LegPtr& leg, SteadyTime at) {
    if constexpr (has<bulkhead>) {
      auto place = part<bulkhead>().try_acquire(at);
      if (!place) {
        if (!part<bulkhead>().has_queue()) return leg_refused(leg, place.error());
        return serially([leg](PipelineCall& call) {
          call.template part<bulkhead>().async_acquire(call.template on_permit<bulkhead>(leg));
        });
      }
      leg->place.emplace(std::move(*place));
    }
    begin_action(leg, at);
  }

  /// A permit that was waited for.
  template <PipelineRole Role>
  auto on_permit(const LegPtr& leg) {
    return boost::asio::bind_executor(
        executor_, boost::asio::bind_cancellation_slot(leg->signal.slot(), [self = self(), leg](auto permit) {
          if (leg->settled) return self->free_leg(leg);
          if (!permit) return self->leg_refused(leg, permit.error());
          const SteadyTime at = self->now();
          if constexpr (Role == limiter) {
            leg->token.emplace(std::move(*permit));
            self->pass_breaker(leg, at);
          } else {
            leg->place.emplace(std::move(*permit));
            self->begin_action(leg, at);
          }
        }));
  }

  void begin_action(const LegPtr& leg, SteadyTime at) {
    leg->begun = at;
    if constexpr (has<limiter>) leg->token->record({});
    if constexpr (has<faults>) {
      InjectedFault fault = part<faults>().next();
      if (fault.latency > Duration::zero())
        return serially([leg, fault = std::move(fault)](PipelineCall& call) { call.wait_as_injected(leg, fault); });
      if (fault.error) return action_ended(leg, Result<T>(std::move(*fault.error)));
    }
    if constexpr (!plain) arm_timers(leg);
    act(leg);
  }

  void wait_as_injected(const LegPtr& leg, const InjectedFault& fault) {
    arm_timers(leg);
    auto waited = [self = self(), leg, error = fault.error](boost::system::error_code) {
      if (leg->settled) return self->free_leg(leg);
      if (error) return self->action_ended(leg, Result<T>(*error));
      self->act(leg);
    };
    state_->world.async_wait_for(
        fault.latency, boost::asio::bind_executor(
                           executor_, boost::asio::bind_cancellation_slot(leg->signal.slot(), std::move(waited))));
  }

  void act(const LegPtr& leg) {
    if constexpr (plain) {
      action_ended(leg, run_plain_action(action_));
    } else {
      auto done = [self = self(), leg](Result<T> result) { self->action_ended(leg, std::move(result)); };
      start_action(executor_, std::ref(action_),
                   boost::asio::bind_cancellation_slot(leg->signal.slot(), std::move(done)));
    }
  }

  void arm_timers(const LegPtr& leg) {
    if constexpr (hedged) arm_hedge(leg->round);
    if constexpr (has<timeout>)
      arm(leg->limit, part<timeout>().limit, leg, [leg](PipelineCall& call) {
        if (leg->settled) return;
        const std::uint32_t round = leg->round;
        call.settle(leg, ErrorClass::timeout);
        leg->signal.emit(boost::asio::cancellation_type::terminal);
        call.leg_answered(round, Result<T>(Timeout::error()));
      });
  }

  // How a leg ends.

  void leg_refused(const LegPtr& leg, Error error) {
    const std::uint32_t round = leg->round;
    give_up_permits(*leg);
    free_leg(leg);
    leg_answered(round, Result<T>(std::move(error)));
  }

  void action_ended(const LegPtr& leg, Result<T> result) {
    if (leg->settled) return free_leg(leg);
    const std::uint32_t round = leg->round;
    settle(leg, result ? std::nullopt : std::optional(result.error().error_class()));
    free_leg(leg);
    leg_answered(round, std::move(result));
  }

  /// Tells who asked how the attempt went. An attempt that was cancelled by its caller counts for nobody.
  void settle(const LegPtr& leg, std::optional<ErrorClass> failure) {
    leg->settled = true;
    leg->limit.disarm();
    if constexpr (timed) {
      const AttemptOutcome outcome{.failure = failure, .latency = now() - leg->begun};
      if constexpr (hedged)
        if (outcome.ok()) part<hedge>().observe(outcome.latency);
      if constexpr (has<breaker>) {
        if (failure != ErrorClass::cancelled) leg->probe->record(outcome);
        leg->probe.reset();
      }
    }
  }

  void give_up_permits(Leg& leg) {
    if constexpr (has<bulkhead>) leg.place.reset();
    if constexpr (has<breaker>) leg.probe.reset();
    if constexpr (has<limiter>) leg.token.reset();
  }

  void free_leg(const LegPtr& leg) {
    give_up_permits(*leg);
    leg->busy = false;
    if (leg.get() != &first_) std::erase(more_, leg);
  }

  void stop_leg(const LegPtr& leg) {
    if (!leg->busy || leg->settled) return;
    leg->settled = true;
    leg->limit.disarm();
    if constexpr (has<breaker>) leg->probe.reset();
    if constexpr (has<limiter>) leg->token.reset();
    leg->signal.emit(boost::asio::cancellation_type::terminal);
  }

  // How the call ends.

  void finish(Result<T> result) {
    if (finished_) return;
    retry_timer_.disarm();
    hedge_timer_.disarm();
    stop_leg(LegPtr(self(), &first_));
    for (const LegPtr& leg : std::vector(more_)) stop_leg(leg);
    fallback_signal_.emit(boost::asio::cancellation_type::terminal);
    complete(std::move(result));
  }

  void complete(Result<T> result) {
    finished_ = true;
    auto held = std::exchange(handler_, std::nullopt);
    if (std::exchange(counted_, false)) state_->calls->end();
    boost::asio::dispatch(work_, [handler = std::move(*held), result = std::move(result)]() mutable {
      std::move(handler)(std::move(result));
    });
  }

  using HandlerExecutor = boost::asio::associated_executor_t<Handler, boost::asio::any_io_executor>;
  using Work = std::decay_t<decltype(boost::asio::prefer(std::declval<const HandlerExecutor&>(),
                                                         boost::asio::execution::outstanding_work.tracked))>;

  F action_;
  Work work_;
  std::optional<Handler> handler_;
  bool counted_ = false;
  std::uint32_t attempts_ = 0;
  std::uint32_t round_ = 0;
  std::uint32_t legs_begun_ = 0;
  std::uint32_t legs_in_round_ = 0;
  SteadyTime began_{};
  CallTimer retry_timer_, hedge_timer_;
  boost::asio::cancellation_signal fallback_signal_;
  Leg first_;
  std::vector<LegPtr> more_;  // hedges, and attempts beside one that did not end at its timeout
};

}  // namespace aura::detail
