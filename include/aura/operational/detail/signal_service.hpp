// What a signal router does on its strand: it carries out what the scheduler decides.
#pragma once

#include <aura/core/dead_letter_sink.hpp>
#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/detail/post.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/signal_fetch.hpp>
#include <aura/operational/detail/signal_front.hpp>
#include <aura/operational/detail/signal_handler.hpp>
#include <aura/operational/detail/signal_inbox.hpp>
#include <aura/operational/detail/wake_timer.hpp>
#include <aura/operational/signal_done.hpp>
#include <aura/operational/signal_event.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace aura {

/// What a drain left behind; nothing where it ended in time.
struct SignalDrainReport {
  std::size_t abandoned = 0;  ///< waited still: dropped, and told so
  std::size_t running = 0;    ///< their handlers had not ended
};

namespace detail {

template <class State>
struct SignalExtra {
  PendingHandler<Result<void>> on_done{};
  std::shared_ptr<SignalFetch<State>> fetch{};
};

template <class Payload, class Key, class State, class Observer>
class SignalService final : public SignalFinisher,
                            public std::enable_shared_from_this<SignalService<Payload, Key, State, Observer>> {
 public:
  using S = Signal<Payload, Key>;
  using Extra = SignalExtra<State>;
  using Letter = std::function<void(const S&, const Error&)>;
  struct Envelope {
    S signal{};
    PendingHandler<Result<void>> on_done{};
  };
  struct Setup {
    SignalSchedulerOptions scheduler{};
    std::size_t fetch_ahead = 0;
    ErasedSignalHandler<S, State> handler{};
    ErasedFetch<Key, State> fetch{};
    Letter letter{};
  };

  SignalService(AnyRuntime runtime, Setup setup, Observer observer)
      : world(runtime),
        executor(runtime.executor()),
        front(setup.scheduler.classes),
        home_(boost::asio::make_strand(executor)),
        setup_(std::move(setup)),
        observer_(std::move(observer)),
        inbox_(front.capacity()),
        scheduler_(setup_.scheduler),
        states_(setup_.scheduler.parallel_max),
        awaited_(setup_.scheduler.parallel_max) {}

  const AnyRuntime world;
  const boost::asio::any_io_executor executor;
  SignalFront front;

  // Before the first signal.

  void on_fetch(ErasedFetch<Key, State> fetch) { setup_.fetch = std::move(fetch); }
  void on_letter(Letter letter) { setup_.letter = std::move(letter); }

  // From any thread.

  /// On refusal the envelope stays with the caller.
  Result<void> post(Envelope&& envelope) {
    const std::uint8_t index = envelope.signal.class_index;
    if (const auto refusal = front.admit(index)) return error_of(*refusal, Duration(refusal == SignalRefusal::full));
    const InboxPush pushed = inbox_.push(std::move(envelope));
    if (pushed == InboxPush::full) return error_of(front.refuse_full(index), Duration(1));
    if (pushed == InboxPush::wake) on_home([](SignalService& self) { self.work(); });
    return {};
  }
  void finish(SignalTicket ticket, Result<void> result) override {
    on_home([ticket, result = std::move(result)](SignalService& self) { self.ended(ticket, result); });
  }
  void drain(SteadyTime deadline, PendingHandler<Result<SignalDrainReport>> done) {
    front.close();
    on_home([deadline, done = std::move(done)](SignalService& self) mutable {
      self.drainers_.push_back(std::move(done));
      self.drain_timer_.set(self.world, self.home_, std::min(deadline, self.drain_by_),
                            [held = self.shared_from_this()] { held->drain_is_over(); });
      self.drain_by_ = std::min(deadline, self.drain_by_);
      self.scheduler_.close();
      self.work();
    });
  }
  void stop() {
    front.close();
    on_home([](SignalService& self) {
      self.scheduler_.close();
      self.take_in();
      self.drain_is_over();
    });
  }
  void await_credits(std::uint8_t index, std::size_t count, PendingHandler<Result<void>> done) {
    on_home([index, count, done = std::move(done)](SignalService& self) mutable {
      if (index >= self.scheduler_.class_count()) return done.answer(error_of(SignalRefusal::unknown_class));
      if (self.credit_waits_.size() >= credit_waits_max)
        return done.answer(error_of(SignalRefusal::full, Duration(1)));
      self.credit_waits_.push_back({index, count, std::move(done)});
      self.tell_credits();
    });
  }
  SignalClassStats stats(std::size_t index) const { return front.merged(index, scheduler_.stats(index)); }

  // The scheduler's sink.

  void dropped(S&& signal, Extra&& extra, SignalDrop reason, Duration waited) {
    front.give_back(signal.class_index, 1);
    if (extra.fetch) {
      extra.fetch->cancel.emit(boost::asio::cancellation_type::terminal);
    }
    notify(observer_, SignalDropped<S>{signal, reason, waited});
    fell_through(signal, extra.on_done, error_of(reason));
    ++abandoned_;
  }

 private:
  struct CreditWait {
    std::uint8_t index = 0;
    std::size_t count = 0;
    PendingHandler<Result<void>> done{};
  };
  static constexpr std::size_t credit_waits_max = 64;

  template <class F>
  void on_home(F f) {
    detail::post(boost::asio::any_io_executor(home_),
                 [self = this->shared_from_this(), f = std::move(f)]() mutable { f(*self); });
  }

  /// Takes in what was posted, hands out what may run, and sees to waking up again.
  void work() {
    take_in();
    for (;;) {
      const SignalNext next = scheduler_.next(world.steady_now(), *this);
      if (next.kind != SignalNext::Kind::run) {
        wake_timer_.set(world, home_, next.wake, [held = this->shared_from_this()] { held->work(); });
        break;
      }
      launch(next.ticket);
    }
    fetch_ahead();
    tell_credits();
    if (!drainers_.empty() && scheduler_.idle()) drain_is_over();
  }
  void take_in() {
    do {
      inbox_.drain([this](Envelope&& envelope) { take(std::move(envelope)); }, inbox_.capacity());
    } while (!inbox_.rest());
  }
  void take(Envelope&& envelope) {
    Extra extra{.on_done = std::move(envelope.on_done)};
    const SignalVerdict verdict = scheduler_.offer(std::move(envelope.signal), std::move(extra), world.steady_now());
    if (verdict) return;
    front.give_back(envelope.signal.class_index, 1);
    const Error error = error_of(*verdict.refused, verdict.retry_after);
    notify(observer_, SignalRefused<S>{envelope.signal, error});
    fell_through(envelope.signal, extra.on_done, error);
  }
  /// A sender who waits for the answer gets it and keeps the matter; for one who does not there are the dead letters.
  void fell_through(const S& signal, PendingHandler<Result<void>>& on_done, const Error& error) {
    if (on_done)
      on_done.answer(error);
    else if (setup_.letter)
      setup_.letter(signal, error);
  }

  void launch(SignalTicket ticket) {
    const auto signals = scheduler_.signals(ticket);
    const auto extras = scheduler_.extras(ticket);
    front.give_back(signals.front().class_index, static_cast<std::int64_t>(signals.size()));
    awaited_[ticket.index] = 0;
    if (setup_.fetch) {
      for (std::size_t i = 0; i < signals.size(); ++i) {
        if (!extras[i].fetch) fetch_for(signals[i].key, extras[i]);
        if (extras[i].fetch->outcome) continue;
        extras[i].fetch->awaited_by = ticket;
        ++awaited_[ticket.index];
      }
    }
    if (awaited_[ticket.index] == 0) call(ticket);
  }
  void call(SignalTicket ticket) {
    auto& states = states_[ticket.index];
    states.clear();
    for (Extra& extra : scheduler_.extras(ticket)) {
      if (!extra.fetch) {
        states.emplace_back();
      } else if (*extra.fetch->outcome) {
        states.push_back(std::move(**extra.fetch->outcome));
      } else {
        return finish(ticket, extra.fetch->outcome->error());
      }
    }
    setup_.handler(executor, {scheduler_.signals(ticket), states}, SignalDone(this->shared_from_this(), ticket));
  }
  void ended(SignalTicket ticket, const Result<void>& result) {
    const auto signals = scheduler_.signals(ticket);
    const auto extras = scheduler_.extras(ticket);
    for (std::size_t i = 0; i < signals.size(); ++i) {
      if (!result)
        fell_through(signals[i], extras[i].on_done, result.error());
      else if (extras[i].on_done)
        extras[i].on_done.answer(result);
    }
    std::optional<ErrorClass> failure;
    if (!result) failure = result.error().error_class();
    scheduler_.done(ticket, world.steady_now(), failure, observer_);
    work();
  }

  /// For the few that go next, while others run.
  void fetch_ahead() {
    if (!setup_.fetch || scheduler_.running() == 0 || fetching_ >= setup_.fetch_ahead) return;
    scheduler_.look_ahead(setup_.fetch_ahead, [this](const S& signal, Extra& extra) {
      if (!extra.fetch && fetching_ < setup_.fetch_ahead) fetch_for(signal.key, extra);
    });
  }
  void fetch_for(const Key& key, Extra& extra) {
    extra.fetch = std::make_shared<SignalFetch<State>>();
    ++fetching_;
    setup_.fetch(home_, key, extra.fetch->cancel.slot(),
                 [self = this->shared_from_this(), fetch = extra.fetch](Result<State> outcome) {
                   self->fetched(*fetch, std::move(outcome));
                 });
  }
  void fetched(SignalFetch<State>& fetch, Result<State> outcome) {
    fetch.outcome.emplace(std::move(outcome));
    --fetching_;
    if (fetch.awaited_by && --awaited_[fetch.awaited_by->index] == 0) call(*fetch.awaited_by);
    fetch_ahead();
  }

  void tell_credits() {
    std::erase_if(credit_waits_, [this](CreditWait& wait) {
      const bool closed = scheduler_.closed();
      if (!closed && front.credits(wait.index) < wait.count) return false;
      wait.done.answer(closed ? Result<void>(error_of(SignalRefusal::draining)) : Result<void>());
      return true;
    });
  }
  void drain_is_over() {
    abandoned_ = 0;
    scheduler_.abandon(world.steady_now(), *this);
    drain_timer_.cancel();
    wake_timer_.cancel();
    tell_credits();
    for (auto& each : std::exchange(drainers_, {}))
      each.answer(SignalDrainReport{.abandoned = abandoned_, .running = scheduler_.running()});
  }

  const boost::asio::strand<boost::asio::any_io_executor> home_;
  Setup setup_;
  Observer observer_;
  SignalInbox<Envelope> inbox_;
  SignalScheduler<Payload, Key, Extra> scheduler_;
  std::vector<std::vector<State>> states_;  // of the calls under way
  std::vector<std::size_t> awaited_;  // fetches that each call waits for
  std::vector<CreditWait> credit_waits_;
  std::vector<PendingHandler<Result<SignalDrainReport>>> drainers_;
  WakeTimer wake_timer_;
  WakeTimer drain_timer_;
  SteadyTime drain_by_ = SteadyTime::max();
  std::size_t fetching_ = 0;
  std::size_t abandoned_ = 0;
};

}  // namespace detail
}  // namespace aura
