// Opens as soon as an error rate that matters is proven, and falsely no more often than its user allows.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/breaker/peers.hpp>
#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/cache_line.hpp>
#include <aura/stats/bernoulli_cusum.hpp>
#include <aura/stats/healthy_rate.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace aura {

struct AdaptivePolicyOptions {
  double failing_rate = 0.1;  ///< the share of failed calls that matters: it is what is detected soonest
  /// The share of failed calls that is normal. None: it is learned from healthy calls, from above.
  std::optional<double> healthy_rate{};
  /// What is assumed until something is learned, and the most that is. None: half of the failing rate.
  std::optional<double> healthy_rate_max{};
  /// The share of slow calls that matters; none: slow calls are not looked at. What is slow, the breaker's
  /// classification says.
  std::optional<double> slow_rate{};
  std::optional<double> healthy_slow_rate{};  ///< none: learned
  /// A healthy dependency is falsely given up once in so long on average, at so many calls a second. Failures and slow
  /// calls share this evenly.
  Duration between_false_openings = std::chrono::hours(24);
  double calls_per_second = 1000;
  /// Other processes' evidence counts for at most so much of what opens. Less than 1: they never open it alone.
  double peers_share_max = 0.25;
  Duration peer_evidence_for = std::chrono::seconds(10);  ///< then what a peer said is forgotten
  std::uint64_t seed = 1;
};

/// A Bernoulli CUSUM for failures, and one for slow calls (stats/bernoulli_cusum.hpp).
///
/// Where the healthy rate is given, and calls fail independently of each other, the mean time between false openings is
/// what was asked for; where it is learned (stats/healthy_rate.hpp), it is at least that, as long as the true one is
/// below `healthy_rate_max`; where it rises to another value below that, some ten openings pass before it is believed. A
/// dependency that fails outright is given up after some ten to twenty calls.
///
/// A good call is one increment. A bad one takes a mutex, some 20 ns. Each 1,024th call looks whether there is something
/// to learn; learning takes up to 60 us, at most once in 65,536 calls.
class AdaptivePolicy : public OpensOnly {
 public:
  using Options = AdaptivePolicyOptions;

  AdaptivePolicy() : AdaptivePolicy(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit AdaptivePolicy(const Options& options)
      : options_(checked(options)),
        peers_(options.peer_evidence_for),
        dice_(options.seed),
        failed_("failing_rate", options.failing_rate, options.healthy_rate, options.healthy_rate_max, interval()) {
    if (options.slow_rate)
      slow_.emplace("slow_rate", *options.slow_rate, options.healthy_slow_rate, std::nullopt, interval());
    learns_ = failed_.learns() || (slow_ && slow_->learns());
    restart();
  }
  /// Not while it is in use.
  AdaptivePolicy(AdaptivePolicy&& other) : AdaptivePolicy(other.options_) {}

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) {
    if (call.bad()) [[unlikely]]
      return record_bad(call, now());
    const std::uint64_t before = good_.fetch_add(1, std::memory_order_relaxed);
    if ((before & tick_mask) == tick_mask) [[unlikely]]
      tick();
    return Verdict::keep();
  }
  void reset(SteadyTime) {
    const std::lock_guard lock(mutex_);
    restart();
  }

  /// What another process's breaker found of the same dependency: it makes this one quicker, at its own next failure.
  void absorb(std::uint64_t peer, const BreakerEvidence& said, SteadyTime now) {
    const std::lock_guard lock(mutex_);
    peers_.absorb(peer, said, now);
  }

  PolicyView view() const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t good = good_.load(std::memory_order_relaxed);
    PolicyView seen{.calls = good + bad_,
                    .failures = failed_.bad_calls(),
                    .evidence = failed_.level(good),
                    .healthy_rate = failed_.plan().p0};
    if (slow_) {
      seen.slow = slow_->bad_calls();
      seen.evidence = std::max(seen.evidence, slow_->level(good));
    }
    seen.evidence = std::min(seen.evidence, 1.0);
    return seen;
  }
  /// In steps, judged by the rates that the policy was made with, the healthy one as it is: a dependency that always
  /// failed one call in twenty has recovered when it does so again.
  RecoveryOptions recovery() const {
    RecoveryOptions options = RecoveryOptions::gradual();
    const double healthy = failed_.plan().p0;
    // Not closer together, for a step shall not take hundreds of probes.
    options.failing_rate = std::clamp(std::max(options_.failing_rate, 2 * healthy), 0.2, 0.9);
    options.healthy_rate = std::min(healthy, options.failing_rate / 2);
    // Its probes are few, so to look again soon costs little, and to wait long rejects much that would have succeeded.
    options.open_for = std::chrono::seconds(2);
    options.open_max = std::chrono::seconds(10);
    return options;
  }
  /// Of the failures, as it stands.
  CusumPlan plan() const {
    const std::lock_guard lock(mutex_);
    return failed_.plan();
  }

 private:
  static constexpr std::uint64_t tick_mask = 1023;

  /// One kind of bad call among all calls. A call is good for it also where it is bad in the other way.
  class Stream {
   public:
    Stream(const char* name, double p1, std::optional<double> p0, std::optional<double> p0_max, double interval)
        : cusum_(plan_of(name, p1, p0, p0_max, interval)) {
      if (!p0)
        rate_ = HealthyRate::make({.p1 = p1, .calls_between_alarms = interval, .p0_max = p0_max.value_or(0)}).value();
    }

    bool learns() const noexcept { return rate_.has_value(); }
    const CusumPlan& plan() const noexcept { return cusum_.plan(); }
    std::uint64_t bad_calls() const noexcept { return bad_; }
    double level(std::uint64_t good) const noexcept { return cusum_.level(good - since_ + others_); }

    /// A call of this kind, after so many good ones in all. The level after it.
    double bad(std::uint64_t good) noexcept {
      cusum_.on_failure(good - since_ + others_);
      ++bad_;
      ++bad_in_window_;
      since_ = good;
      others_ = 0;
      return cusum_.level(0);
    }
    void other_bad() noexcept { ++others_; }

    void restart(double die) noexcept {
      cusum_.restart(die);
      since_ = others_ = bad_ = bad_in_window_ = 0;
    }
    void learn(std::uint64_t calls, CallWindow window, std::uint64_t good, double die) {
      if (!rate_) return;
      if (window != CallWindow::alarm && cusum_.score(good - since_ + others_) > 0) window = CallWindow::unclear;
      if (rate_->observe(calls, std::exchange(bad_in_window_, 0), window)) cusum_.adopt(rate_->plan().value(), die);
    }

   private:
    static CusumPlan plan_of(const char* name, double p1, std::optional<double> p0, std::optional<double> p0_max,
                             double interval) {
      const auto plan = plan_cusum(p0 ? *p0 : p0_max.value_or(p1 / 2), p1, interval);
      if (!plan)
        throw std::invalid_argument("AdaptivePolicy: " + std::string(name) + ": " +
                                    std::string(plan.error().message()));
      return *plan;
    }

    BernoulliCusum cusum_;
    std::optional<HealthyRate> rate_;
    std::uint64_t since_ = 0;  // good calls when its last bad one was seen
    std::uint64_t others_ = 0;  // calls since then that were bad in the other way alone
    std::uint64_t bad_ = 0, bad_in_window_ = 0;
  };

  static const Options& checked(const Options& options) {
    if (options.between_false_openings <= Duration::zero())
      throw std::invalid_argument("AdaptivePolicy: between_false_openings must be positive");
    if (!(options.calls_per_second > 0))
      throw std::invalid_argument("AdaptivePolicy: calls_per_second must be positive");
    if (!(options.peers_share_max >= 0 && options.peers_share_max < 1))
      throw std::invalid_argument("AdaptivePolicy: peers_share_max must lie in [0, 1)");
    return options;
  }
  /// Calls between false openings, of one stream.
  double interval() const {
    const double calls =
        std::chrono::duration<double>(options_.between_false_openings).count() * options_.calls_per_second;
    return options_.slow_rate ? 2 * calls : calls;
  }

  [[gnu::noinline]] Verdict record_bad(CallResult call, SteadyTime now) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t good = good_.load(std::memory_order_relaxed);
    ++bad_;
    const double failed = call.failed ? failed_.bad(good) : (failed_.other_bad(), 0);
    const double slow = !slow_ ? 0 : call.slow ? slow_->bad(good) : (slow_->other_bad(), 0);
    const double level = std::max(failed, slow);
    if (level < 1 - options_.peers_share_max || level + peers_.evidence(now, options_.peers_share_max) < 1)
      return Verdict::keep();
    learn(good, CallWindow::alarm);
    return Verdict::open(slow > failed ? "too many slow calls" : "too many failures");
  }

  [[gnu::noinline]] void tick() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !learns_) return;  // a call that failed is at it: the next tick will do
    const std::uint64_t good = good_.load(std::memory_order_relaxed);
    if (good + bad_ - window_begin_ >= window_) learn(good, CallWindow::quiet);
  }
  /// The longer it has learned, the more seldom it looks.
  void learn(std::uint64_t good, CallWindow window) {
    const std::uint64_t calls = good + bad_ - window_begin_;
    window_begin_ += calls;
    window_ = std::min<std::uint64_t>(2 * window_, 65'536);
    failed_.learn(calls, window, good, dice_.uniform());
    if (slow_) slow_->learn(calls, window, good, dice_.uniform());
  }
  void restart() {
    good_.store(0, std::memory_order_relaxed);
    bad_ = window_begin_ = 0;
    failed_.restart(dice_.uniform());
    if (slow_) slow_->restart(dice_.uniform());
  }

  Options options_;
  bool learns_ = false;
  alignas(detail::cache_line) std::atomic<std::uint64_t> good_{0};

  alignas(detail::cache_line) mutable std::mutex mutex_;
  BreakerPeers peers_;
  Random dice_;
  Stream failed_;
  std::optional<Stream> slow_;
  std::uint64_t bad_ = 0;  // calls bad in either way
  std::uint64_t window_begin_ = 0, window_ = 1024;  // of learning, in calls
};

static_assert(breaker_policy<AdaptivePolicy> && hears_peers<AdaptivePolicy> && recovers_its_own_way<AdaptivePolicy>);

}  // namespace aura
