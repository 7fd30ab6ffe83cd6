// The machine of a circuit breaker: states, probes and the hot path. No clock, no I/O, no allocation per call.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/outcome.hpp>
#include <aura/operational/breaker/classification.hpp>
#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/breaker/recovery.hpp>
#include <aura/operational/breaker/state.hpp>
#include <aura/operational/breaker/ticket.hpp>
#include <aura/operational/detail/cache_line.hpp>
#include <aura/operational/detail/rejection_texts.hpp>
#include <aura/operational/rejection.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace aura {

struct BreakerOptions {
  std::string name = "dependency";  ///< of what is guarded; stands in every rejection
  Classification classification{};
  /// None: as the policy says, or else `RecoveryOptions{}`.
  std::optional<RecoveryOptions> recovery{};
};

/// The states and transitions of a breaker. `CircuitBreaker` is this with a runtime around it.
///
/// May be shared between threads. Where the breaker is closed, `admit` is one relaxed load and `record` another plus
/// what the policy counts; each transition and each probe takes a mutex. A ticket is given back exactly once, by
/// `record` or `cancel`; those of an epoch that is over change nothing but the count of calls in flight.
template <breaker_policy Policy, class Observer = NullObserver>
class BreakerCore {
 public:
  /// Throws std::invalid_argument for options that make no sense, naming the culprit. `seed`: of its dice.
  BreakerCore(BreakerOptions options, Policy policy, std::uint64_t seed, Observer observer = {})
      : texts_(detail::rejection_texts(options.name)),
        classification_(options.classification),
        observer_(std::move(observer)),
        policy_(std::move(policy)),
        random_(seed),
        recovery_(recovery_of(options, policy_)) {
    word_.store(resting_word(0), std::memory_order_relaxed);
  }
  BreakerCore(const BreakerCore&) = delete;
  BreakerCore& operator=(const BreakerCore&) = delete;

  // The hot path.

  /// Lets a call pass, or says why not and when to come back.
  BreakerAdmission admit(SteadyTime now) {
    return admit_at([now] { return now; });
  }
  /// The same where the time is read only if it matters.
  template <time_source Now>
  [[gnu::always_inline]] BreakerAdmission admit_at(Now now) {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    if constexpr (!Policy::always_asked)
      if (state_of(word) == BreakerState::closed) [[likely]]
        return pass(word);
    const SteadyTime at = now();
    if (state_of(word) == BreakerState::open)
      if (const Duration left = open_until() - at; left > Duration::zero()) [[likely]]
        return reject(word, rejection_errc::breaker_open, left);
    if (asks_policy(state_of(word))) return ask_policy(word, at);
    return admit_by_hand_or_probe(word, at);
  }
  /// In words; it allocates nothing, and may outlive the breaker.
  Error error(const BreakerAdmission& rejection) const noexcept {
    return Error::fixed(rejection.code, ErrorClass::rejected, texts_->of(rejection.code))
        .with_retry_after(rejection.retry_after);
  }

  /// How the call ended. `now` is read only where it matters.
  template <time_source Now>
  [[gnu::always_inline]] void record(BreakerTicket ticket, const AttemptOutcome& outcome, Now now) {
    if (outcome.ok()) [[likely]]
      record_success(ticket, outcome.latency, now);
    else
      leave(), record_unusual(ticket, outcome, now());
  }
  template <time_source Now>
  [[gnu::always_inline]] void record_success(BreakerTicket ticket, Duration latency, Now now) {
    leave();
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (!counts_calls(state_of(word)) || epoch_of(word) != epoch_of(ticket.word)) [[unlikely]]
      return record_unusual(ticket, {.latency = latency}, now());
    conclude(ticket.word, policy_.record(classification_.success(latency), now), now);
  }

  /// The call did not take place, or nothing is to be concluded from it. Frees its probe.
  [[gnu::cold]] void cancel(BreakerTicket ticket) {
    leave();
    cancelled(ticket);
  }

  // By hand. Each is told to the observer; each begins a new epoch.

  void force_open(SteadyTime now) { settle(BreakerState::forced_open, now, "forced open by hand"); }
  void disable(SteadyTime now) { settle(BreakerState::disabled, now, "disabled by hand"); }
  /// Closed, with everything forgotten.
  void reset(SteadyTime now) {
    settle(BreakerState::closed, now, "reset by hand", [&] {
      recovery_.forget();
      policy_.reset(now);
    });
  }

  // What it is doing.

  BreakerState state() const noexcept { return state_of(word_.load(std::memory_order_acquire)); }
  std::uint64_t epoch() const noexcept { return epoch_of(word_.load(std::memory_order_acquire)); }
  std::uint32_t in_flight() const noexcept { return in_flight_.load(std::memory_order_relaxed); }
  std::string_view name() const noexcept { return texts_->name; }

  BreakerSnapshot snapshot() const {
    BreakerSnapshot shot;
    {
      const std::lock_guard lock(mutex_);
      const std::uint64_t word = word_.load(std::memory_order_relaxed);
      shot = {.name = texts_->name,
              .state = state_of(word),
              .epoch = epoch_of(word),
              .recovery_step = recovery_.step_index(),
              .probes_in_flight = state_of(word) == BreakerState::half_open ? recovery_.probes_in_flight() : 0,
              .relapses = recovery_.relapses(),
              .openings = openings_};
      if (shot.state == BreakerState::open) shot.open_until = open_until();
    }
    shot.policy = policy_.view();
    return shot;
  }

  /// For the breakers of other processes that guard the same dependency.
  BreakerEvidence evidence() const {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    return {.epoch = epoch_of(word), .verdict = state_of(word), .evidence = policy_.view().evidence};
  }
  /// What another one says. It makes this one quicker and never opens it. `peer` tells them apart.
  void absorb(std::uint64_t peer, const BreakerEvidence& said, SteadyTime now)
    requires hears_peers<Policy>
  {
    policy_.absorb(peer, said, now);
  }

  Policy& policy() noexcept { return policy_; }
  const Policy& policy() const noexcept { return policy_; }

 private:
  static constexpr unsigned state_bits = 3;

  static BreakerState state_of(std::uint64_t word) noexcept { return static_cast<BreakerState>(word & 7u); }
  static std::uint64_t epoch_of(std::uint64_t word) noexcept { return word >> state_bits; }
  static std::uint64_t make_word(std::uint64_t epoch, BreakerState state) noexcept {
    return epoch << state_bits | static_cast<std::uint64_t>(state);
  }
  static std::uint64_t resting_word(std::uint64_t epoch) noexcept { return make_word(epoch, BreakerState::closed); }
  static bool counts_calls(BreakerState state) noexcept { return state <= BreakerState::throttling; }
  bool same_epoch(std::uint64_t word) const noexcept {
    return epoch_of(word_.load(std::memory_order_relaxed)) == epoch_of(word);
  }
  static RecoveryOptions recovery_of(const BreakerOptions& options, const Policy& policy) {
    if (options.recovery) return *options.recovery;
    if constexpr (recovers_its_own_way<Policy>) return policy.recovery();
    return {};
  }

  // Admission.

  static bool asks_policy(BreakerState state) noexcept {
    return state == BreakerState::throttling || (Policy::always_asked && state == BreakerState::closed);
  }
  BreakerAdmission pass(std::uint64_t word) noexcept {
    if constexpr (Policy::needs_in_flight) in_flight_.fetch_add(1, std::memory_order_relaxed);
    return {.ticket = {word}};
  }
  BreakerAdmission reject(std::uint64_t word, rejection_errc code, Duration retry_after) {
    if constexpr (observes<Observer, BreakerRejected>)
      notify(observer_, BreakerRejected{texts_->name, state_of(word), retry_after});
    return {{word}, code, retry_after};
  }
  BreakerAdmission no_place_for_a_probe(std::uint64_t word) {
    return reject(word, rejection_errc::breaker_half_open, recovery_.options().probe_retry_after);
  }

  [[gnu::always_inline]] BreakerAdmission ask_policy(std::uint64_t word, SteadyTime now) {
    Admission answer;
    if constexpr (Policy::needs_in_flight) {
      // Asked again where others came in between, so that two at once do not both get the last place.
      const std::uint32_t seen = in_flight_.load(std::memory_order_relaxed);
      answer = policy_.admit(now, seen, random_);
      if (!answer.passes) return reject(word, answer.code, answer.retry_after);
      const std::uint32_t before = in_flight_.fetch_add(1, std::memory_order_relaxed);
      if (before > seen) [[unlikely]]
        answer = policy_.admit(now, before, random_);
      if (!answer.passes) leave();
    } else {
      answer = policy_.admit(now, 0, random_);
    }
    if (!answer.passes) return reject(word, answer.code, answer.retry_after);
    if (answer.calm && state_of(word) == BreakerState::throttling) [[unlikely]]
      calm_down(word, now);
    return {.ticket = {word}};
  }

  [[gnu::noinline]] BreakerAdmission admit_by_hand_or_probe(std::uint64_t word, SteadyTime now) {
    switch (state_of(word)) {
      case BreakerState::forced_open: return reject(word, rejection_errc::breaker_forced_open, {});
      case BreakerState::half_open:
        if (now < next_probe() && random_.uniform() >= share_.load(std::memory_order_relaxed))
          return no_place_for_a_probe(word);
        break;
      case BreakerState::open: break;  // its time seemed to be over
      default: return pass(word);
    }
    Changes changes;
    std::unique_lock lock(mutex_);
    const BreakerAdmission answer = probe(now, changes);
    lock.unlock();
    tell(changes);
    return answer;
  }

  struct Changes {
    BreakerChanged all[2]{};
    std::size_t count = 0;
  };

  BreakerAdmission probe(SteadyTime now, Changes& changes) {
    if (state_now() == BreakerState::open && now >= open_until()) half_open(now, changes);
    if (state_now() == BreakerState::half_open && recovery_.silent(now))
      open(now, {}, "probes did not answer", changes);
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    switch (state_of(word)) {
      case BreakerState::open: return reject(word, rejection_errc::breaker_open, open_until() - now);
      case BreakerState::forced_open: return reject(word, rejection_errc::breaker_forced_open, {});
      case BreakerState::half_open:
        if (!recovery_.begin_probe(now)) return no_place_for_a_probe(word);
        next_probe_.store(saturating_add(now, recovery_.options().probe_retry_after).time_since_epoch().count(),
                          std::memory_order_relaxed);
        return pass(word);
      default: return pass(word);  // another thread closed it meanwhile
    }
  }

  // Ends of calls.

  template <time_source Now>
  [[gnu::always_inline]] void conclude(std::uint64_t ticket, Verdict verdict, Now& now) {
    if (verdict.kind != Verdict::Kind::keep) [[unlikely]]
      act(ticket, verdict, now());
  }
  /// A failure, a probe, or a call of an epoch that is over.
  [[gnu::noinline]] void record_unusual(BreakerTicket ticket, AttemptOutcome outcome, SteadyTime at) {
    const auto counted = classification_.count(outcome);
    if (!counted) return cancelled(ticket);
    if (!same_epoch(ticket.word)) return;
    auto now = [at] { return at; };
    if (counts_calls(state_of(ticket.word)))
      conclude(ticket.word, policy_.record(*counted, now), now);
    else if (state_of(ticket.word) == BreakerState::half_open)
      end_probe(ticket.word, *counted, at);
  }

  void leave() noexcept {
    if constexpr (Policy::needs_in_flight) in_flight_.fetch_sub(1, std::memory_order_relaxed);
  }

  [[gnu::noinline]] void cancelled(BreakerTicket ticket) {
    if (!same_epoch(ticket.word)) return;
    if (counts_calls(state_of(ticket.word))) return policy_.cancel();
    if (state_of(ticket.word) != BreakerState::half_open) return;
    const std::lock_guard lock(mutex_);
    if (same_epoch(ticket.word)) recovery_.cancel_probe();
  }

  [[gnu::noinline]] void end_probe(std::uint64_t ticket, const CallResult& call, SteadyTime now) {
    Changes changes;
    {
      const std::lock_guard lock(mutex_);
      if (!same_epoch(ticket)) return;
      switch (recovery_.end_probe(call.bad(), now)) {
        case Recovery::Step::stays: break;
        case Recovery::Step::next: share_.store(recovery_.share(), std::memory_order_relaxed); break;
        case Recovery::Step::closes: close(now, "the probes succeeded", changes); break;
        case Recovery::Step::relapses: open(now, {}, "the probes failed", changes); break;
      }
    }
    tell(changes);
  }

  [[gnu::noinline]] void act(std::uint64_t ticket, Verdict verdict, SteadyTime now) {
    Changes changes;
    {
      const std::lock_guard lock(mutex_);
      if (!same_epoch(ticket)) return;
      if (verdict.kind == Verdict::Kind::open)
        open(now, verdict.open_for, verdict.why, changes);
      else if (state_now() == BreakerState::closed)
        switch_throttling(BreakerState::throttling, now, verdict.why, changes);
    }
    tell(changes);
  }

  [[gnu::noinline]] void calm_down(std::uint64_t word, SteadyTime now) {
    Changes changes;
    {
      const std::lock_guard lock(mutex_);
      if (word_.load(std::memory_order_relaxed) != word) return;
      switch_throttling(BreakerState::closed, now, "nothing is held back any more", changes);
    }
    tell(changes);
  }

  // Transitions, all under the mutex.

  BreakerState state_now() const noexcept { return state_of(word_.load(std::memory_order_relaxed)); }
  SteadyTime open_until() const noexcept { return SteadyTime(Duration(open_until_.load(std::memory_order_relaxed))); }

  /// From then on a call is a probe whatever the share, or a dependency that is seldom called would take for ever.
  SteadyTime next_probe() const noexcept { return SteadyTime(Duration(next_probe_.load(std::memory_order_relaxed))); }

  void move_to(BreakerState to, SteadyTime now, std::string_view why, Changes& changes, bool same_epoch = false) {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    const std::uint64_t epoch = epoch_of(word) + (same_epoch ? 0 : 1);
    word_.store(make_word(epoch, to), std::memory_order_release);
    changes.all[changes.count++] = {texts_->name, state_of(word), to, epoch, now, why};
  }
  /// What is in flight counts on both sides of this one.
  void switch_throttling(BreakerState to, SteadyTime now, std::string_view why, Changes& changes) {
    move_to(to, now, why, changes, true);
  }
  void open(SteadyTime now, Duration asked, std::string_view why, Changes& changes) {
    ++openings_;
    const SteadyTime until = recovery_.opened(now, asked, random_.uniform());
    open_until_.store(until.time_since_epoch().count(), std::memory_order_relaxed);
    move_to(BreakerState::open, now, why, changes);
  }
  void half_open(SteadyTime now, Changes& changes) {
    if (!recovery_.half_opened(now)) return close(now, "its time is over", changes);
    share_.store(recovery_.share(), std::memory_order_relaxed);
    move_to(BreakerState::half_open, now, "its time is over", changes);
  }
  void close(SteadyTime now, std::string_view why, Changes& changes) {
    recovery_.closed(now);
    policy_.reset(now);
    move_to(BreakerState::closed, now, why, changes);
  }

  template <class F = void (*)()>
  void settle(
      BreakerState to, SteadyTime now, std::string_view why, F and_then = [] {}) {
    Changes changes;
    {
      const std::lock_guard lock(mutex_);
      and_then();
      move_to(to, now, why, changes);
    }
    tell(changes);
  }

  void tell(const Changes& changes) {
    for (std::size_t i = 0; i < changes.count; ++i) notify(observer_, changes.all[i]);
  }

  // What every call reads stands apart from what calls write, or each would wait for the others' cache line.
  std::atomic<std::uint64_t> word_{0};
  std::atomic<std::int64_t> open_until_{0};
  std::atomic<double> share_{1};
  std::atomic<std::int64_t> next_probe_{0};
  const detail::RejectionTexts* texts_;
  Classification classification_;
  [[no_unique_address]] Observer observer_;
  alignas(detail::cache_line) Policy policy_;
  alignas(detail::cache_line) detail::SharedRandom random_;
  alignas(detail::cache_line) std::atomic<std::uint32_t> in_flight_{0};

  alignas(detail::cache_line) mutable std::mutex mutex_;
  Recovery recovery_;
  std::uint64_t openings_ = 0;
};

}  // namespace aura
