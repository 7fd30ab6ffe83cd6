// Ejects the endpoints of a group that do worse than the others.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/cache_line.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Names and defaults are those of Envoy's outlier detection.
struct OutlierEjectionOptions {
  std::uint32_t consecutive_failures = 5;
  Duration interval = std::chrono::seconds(10);  ///< between comparisons of the endpoints
  Duration base_ejection_time = std::chrono::seconds(30);  ///< times the ejections in a row
  Duration max_ejection_time = std::chrono::seconds(300);
  double max_ejected_share = 0.1;  ///< of the endpoints, but always one
  // An endpoint is an outlier whose success rate is so many deviations below the mean of them all:
  double success_rate_deviations = 1.9;
  std::uint32_t success_rate_hosts_min = 5;     ///< with enough calls: below it they are not compared
  std::uint64_t success_rate_calls_min = 100;   ///< of an endpoint in the interval
  // or that failed too large a share of its calls:
  double failure_share = 0.85;
  std::uint32_t failure_share_hosts_min = 5;
  std::uint64_t failure_share_calls_min = 50;
  std::size_t hosts_max = 1024;
};

/// What the breakers of a group of endpoints have in common. Shared between threads; lives as long as the last of them.
class OutlierGroup {
 public:
  using Options = OutlierEjectionOptions;

  OutlierGroup() : OutlierGroup(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit OutlierGroup(const Options& options) : options_(options) {
    const auto demand = [](bool holds, const char* culprit) {
      if (!holds) throw std::invalid_argument(std::string("OutlierGroup: ") + culprit);
    };
    demand(options.consecutive_failures > 0, "consecutive_failures must be positive");
    demand(options.interval > Duration::zero(), "interval must be positive");
    demand(options.base_ejection_time > Duration::zero(), "base_ejection_time must be positive");
    demand(options.max_ejected_share >= 0 && options.max_ejected_share <= 1, "max_ejected_share must lie in [0, 1]");
    demand(options.failure_share > 0, "failure_share must be positive");
  }

  const Options& options() const noexcept { return options_; }
  std::size_t hosts() const {
    const std::lock_guard lock(mutex_);
    return hosts_.size();
  }
  std::size_t ejected(SteadyTime now) const {
    const std::lock_guard lock(mutex_);
    return ejected_at(now);
  }

 private:
  friend class OutlierEjection;

  struct Host {
    alignas(detail::cache_line) std::atomic<std::uint64_t> good{0};  // in this interval
    alignas(detail::cache_line) std::atomic<std::uint64_t> bad{0};  // likewise
    std::atomic<std::uint32_t> row{0};
    // Under the group's mutex:
    bool outlier = false;
    std::uint32_t ejections = 0;  // in a row; each interval of health takes one off
    SteadyTime ejected_until = SteadyTime::min();
    SteadyTime forgiven_until = SteadyTime::min();
  };

  Host* join() {
    const std::lock_guard lock(mutex_);
    if (hosts_.size() >= options_.hosts_max) throw std::length_error("OutlierGroup: more than hosts_max endpoints");
    return hosts_.emplace_back(std::make_unique<Host>()).get();
  }
  void leave(const Host* host) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase_if(hosts_, [&](const auto& each) { return each.get() == host; });
  }

  /// Its breaker closes: the ejection is over, by time or by hand, and the record before it is not held against it.
  void back(Host& host, SteadyTime now) noexcept {
    const std::lock_guard lock(mutex_);
    if (host.ejected_until > now) host.ejected_until = host.forgiven_until = now;
    host.outlier = false;
    host.row.store(0, std::memory_order_relaxed);
  }

  /// Counts a failure of `host`, in the interval that it falls into.
  [[gnu::noinline]] Verdict failed(Host& host, SteadyTime now) {
    const std::lock_guard lock(mutex_);
    if (!begun_) {
      begun_ = true;
      interval_end_ = saturating_add(now, options_.interval);
    } else if (now >= interval_end_) {
      compare(now);
      interval_end_ = saturating_add(now, options_.interval);
    }
    host.bad.fetch_add(1, std::memory_order_relaxed);
    const bool in_a_row = host.row.fetch_add(1, std::memory_order_relaxed) + 1 >= options_.consecutive_failures;
    if (host.ejected_until > now || (!in_a_row && !host.outlier)) return Verdict::keep();
    host.outlier = false;
    host.row.store(0, std::memory_order_relaxed);
    const auto ejected = static_cast<double>(ejected_at(now));
    // The slack is for shares such as 0.29, of which a hundred are a little less than 29.
    const double room = options_.max_ejected_share * static_cast<double>(hosts_.size()) + 1e-9;
    if (ejected > 0 && ejected + 1 > room) return Verdict::keep();
    const Duration ejected_for = next_ejection(host, now);
    host.ejected_until = host.forgiven_until = saturating_add(now, ejected_for);
    return Verdict::open(in_a_row ? "too many failures in a row" : "worse than the other endpoints", ejected_for);
  }

  Duration next_ejection(Host& host, SteadyTime now) const noexcept {
    forgive(host, now);
    const auto base = static_cast<double>(options_.base_ejection_time.count());
    const double longest = std::max(base, static_cast<double>(options_.max_ejection_time.count()));
    // The count stops where the time does, or a bad day would be held against it for as long again.
    if (base * host.ejections < longest + base) ++host.ejections;
    return Duration(static_cast<Duration::rep>(std::min(base * host.ejections, longest)));
  }
  /// One off for each interval since its return, also those in which nobody failed and nothing was looked at.
  void forgive(Host& host, SteadyTime now) const noexcept {
    if (host.ejections == 0 || now <= host.forgiven_until) return;
    const auto intervals = static_cast<std::uint64_t>((now - host.forgiven_until) / options_.interval);
    host.ejections -= static_cast<std::uint32_t>(std::min<std::uint64_t>(host.ejections, intervals));
  }

  std::size_t ejected_at(SteadyTime now) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(hosts_.begin(), hosts_.end(), [&](const auto& host) { return host->ejected_until > now; }));
  }

  /// Marks the outliers of the interval that ends; they are ejected at their next failure. Those that are ejected
  /// already are not compared.
  void compare(SteadyTime now) {
    rates_.clear();
    for (const auto& host : hosts_) {
      const auto good = host->good.exchange(0, std::memory_order_relaxed);
      const auto bad = host->bad.exchange(0, std::memory_order_relaxed);
      host->outlier = false;
      if (host->ejected_until > now || good + bad == 0) continue;
      const auto calls = static_cast<double>(good + bad);
      rates_.push_back({host.get(), good + bad, static_cast<double>(good) / calls, static_cast<double>(bad) / calls});
    }
    mark_low_success_rates();
    mark_high_failure_shares();
  }

  void mark_low_success_rates() noexcept {
    double sum = 0, squares = 0;
    std::uint32_t counted = 0;
    for (const Rate& each : rates_)
      if (each.calls >= options_.success_rate_calls_min) sum += each.success, ++counted;
    if (counted == 0 || counted < options_.success_rate_hosts_min) return;
    const double mean = sum / counted;
    for (const Rate& each : rates_)
      if (each.calls >= options_.success_rate_calls_min) squares += (each.success - mean) * (each.success - mean);
    const double least = mean - options_.success_rate_deviations * std::sqrt(squares / counted);
    for (const Rate& each : rates_)
      if (each.calls >= options_.success_rate_calls_min && each.success < least) each.host->outlier = true;
  }
  void mark_high_failure_shares() noexcept {
    const auto counts = [&](const Rate& each) { return each.calls >= options_.failure_share_calls_min; };
    const auto counted = std::count_if(rates_.begin(), rates_.end(), counts);
    if (counted < static_cast<std::ptrdiff_t>(options_.failure_share_hosts_min)) return;
    for (const Rate& each : rates_)
      if (counts(each) && each.failure >= options_.failure_share) each.host->outlier = true;
  }

  struct Rate {
    Host* host = nullptr;
    std::uint64_t calls = 0;
    double success = 1, failure = 0;
  };

  Options options_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<Rate> rates_;
  bool begun_ = false;
  SteadyTime interval_end_{};
};

/// One endpoint of a group. Ejected after so many failures in a row, or when the comparison of an interval shows it to
/// be worse than the others; back in full when the ejection is over, without probes, as Envoy does. The comparison is
/// made at the first failure after the interval, by whichever endpoint has it. A success is one increment; a failure
/// takes the group's mutex and, once in an interval, looks at every endpoint.
class OutlierEjection : public OpensOnly {
 public:
  /// Joins the group. Throws std::length_error where that is full.
  explicit OutlierEjection(std::shared_ptr<OutlierGroup> group) : group_(std::move(group)), host_(group_->join()) {}
  OutlierEjection(OutlierEjection&& other) noexcept
      : group_(std::move(other.group_)), host_(std::exchange(other.host_, nullptr)) {}
  OutlierEjection& operator=(OutlierEjection&&) = delete;
  ~OutlierEjection() {
    if (host_ != nullptr) group_->leave(host_);
  }

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) {
    if (!call.failed) [[likely]] {
      host_->good.fetch_add(1, std::memory_order_relaxed);
      if (host_->row.load(std::memory_order_relaxed) != 0) host_->row.store(0, std::memory_order_relaxed);
      return Verdict::keep();
    }
    return group_->failed(*host_, now());
  }
  void reset(SteadyTime now) noexcept { group_->back(*host_, now); }

  PolicyView view() const noexcept {
    const auto good = host_->good.load(std::memory_order_relaxed);
    const auto bad = host_->bad.load(std::memory_order_relaxed);
    const double row = static_cast<double>(host_->row.load(std::memory_order_relaxed));
    return {.calls = good + bad, .failures = bad, .evidence = row / group_->options().consecutive_failures};
  }
  /// The ejection time is the group's; there are no probes.
  RecoveryOptions recovery() const {
    RecoveryOptions options;
    options.open_for = group_->options().base_ejection_time;
    options.open_max = std::max(options.open_for, group_->options().max_ejection_time);
    options.jitter = 0;
    options.step_count = 0;
    return options;
  }

 private:
  std::shared_ptr<OutlierGroup> group_;
  OutlierGroup::Host* host_;
};

static_assert(breaker_policy<OutlierEjection> && recovers_its_own_way<OutlierEjection>);

}  // namespace aura
