// One server, Poisson arrivals, open loop, in virtual time: what the signal router's service figures come from.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

namespace aura::bench {

/// 20% signals of 0.2 ms that are due 20 ms after arrival; 80% bulk of lognormal service time, due after 500 ms.
struct ServiceLoad {
  double load = 0.9;   ///< arrivals' work over the server's time
  double sigma = 1.0;  ///< of the logarithm of a bulk signal's service time
  std::size_t arrivals = 200'000;
  std::uint64_t seed = 1;
};

struct ServiceArrival {
  SteadyTime at{}, deadline{};
  Duration service{};
  bool bulk = false;
};

inline double normal_of(Random& dice) {
  const double radius = std::sqrt(-2 * std::log(1 - dice.uniform()));
  return radius * std::cos(6.283185307179586 * dice.uniform());
}

inline std::vector<ServiceArrival> service_arrivals(const ServiceLoad& of) {
  constexpr double signal_ms = 0.2, bulk_ms = 1.1, bulk_share = 0.8;
  const double gap_ms = (signal_ms * (1 - bulk_share) + bulk_ms * bulk_share) / of.load;
  Random gaps = Random::stream(of.seed, "gaps"), kinds = Random::stream(of.seed, "kinds"),
         services = Random::stream(of.seed, "services");
  const auto in_ms = [](double ms) { return Duration(static_cast<Duration::rep>(ms * 1e6)); };
  std::vector<ServiceArrival> out(of.arrivals);
  double now_ms = 0;
  for (ServiceArrival& each : out) {
    now_ms -= gap_ms * std::log(1 - gaps.uniform());
    each.at = SteadyTime(in_ms(now_ms));
    each.bulk = kinds.chance(bulk_share);
    const double bulk_service = bulk_ms * std::exp(of.sigma * normal_of(services) - of.sigma * of.sigma / 2);
    each.service = in_ms(each.bulk ? bulk_service : signal_ms);
    each.deadline = each.at + (each.bulk ? std::chrono::milliseconds(500) : std::chrono::milliseconds(20));
  }
  return out;
}

/// How one class fared. What was refused or dropped counts as infinitely slow and as late.
struct ServiceClass {
  std::vector<double> latencies_ms{};
  std::size_t on_time = 0;

  void ended(const ServiceArrival& arrival, std::optional<SteadyTime> at) {
    latencies_ms.push_back(at ? std::chrono::duration<double, std::milli>(*at - arrival.at).count() : HUGE_VAL);
    if (at && *at <= arrival.deadline) ++on_time;
  }
  /// Nearest rank.
  double quantile(double q) const {
    if (latencies_ms.empty()) return 0;
    std::vector<double> sorted = latencies_ms;
    std::sort(sorted.begin(), sorted.end());
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
    return sorted[std::max<std::size_t>(rank, 1) - 1];
  }
  double share_on_time() const {
    return static_cast<double>(on_time) / static_cast<double>(std::max<std::size_t>(latencies_ms.size(), 1));
  }
};

struct ServiceResult {
  ServiceClass signals{}, bulk{};
  double all_on_time() const {
    return static_cast<double>(signals.on_time + bulk.on_time) /
           static_cast<double>(std::max<std::size_t>(signals.latencies_ms.size() + bulk.latencies_ms.size(), 1));
  }
  ServiceClass& of(const ServiceArrival& arrival) { return arrival.bulk ? bulk : signals; }
};

/// In order of arrival, whatever the deadlines.
inline ServiceResult serve_fifo(const std::vector<ServiceArrival>& arrivals) {
  ServiceResult out;
  SteadyTime free{};
  for (const ServiceArrival& each : arrivals) {
    free = std::max(free, each.at) + each.service;
    out.of(each).ended(each, free);
  }
  return out;
}

/// Earliest deadline first, and nothing refused or dropped.
inline ServiceResult serve_edf(const std::vector<ServiceArrival>& arrivals) {
  const auto later = [&](std::size_t a, std::size_t b) { return arrivals[a].deadline > arrivals[b].deadline; };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(later)> waiting(later);
  ServiceResult out;
  SteadyTime free{};
  std::size_t next = 0;
  while (next < arrivals.size() || !waiting.empty()) {
    if (waiting.empty()) free = std::max(free, arrivals[next].at);
    while (next < arrivals.size() && arrivals[next].at <= free) waiting.push(next++);
    const ServiceArrival& first = arrivals[waiting.top()];
    waiting.pop();
    free += first.service;
    out.of(first).ended(first, free);
  }
  return out;
}

/// Through the router's core: signals in the class "high", bulk in "bulk", each a key of its own.
inline ServiceResult serve_routed(const std::vector<ServiceArrival>& arrivals, SignalSchedulerOptions options = {}) {
  struct Sink {
    ServiceResult& out;
    const std::vector<ServiceArrival>& arrivals;
    void dropped(Signal<std::size_t, std::uint64_t>&& signal, NoSignalExtra&&, SignalDrop, Duration) {
      out.of(arrivals[signal.payload]).ended(arrivals[signal.payload], std::nullopt);
    }
  };
  ServiceResult out;
  Sink sink{out, arrivals};
  SignalScheduler<std::size_t, std::uint64_t> scheduler(options);
  SteadyTime now{};
  std::size_t next = 0;
  const auto offer_until = [&](SteadyTime until) {
    for (; next < arrivals.size() && arrivals[next].at <= until; ++next) {
      const ServiceArrival& each = arrivals[next];
      Signal<std::size_t, std::uint64_t> signal{.key = next,
                                                .class_index = each.bulk ? DefaultClass::bulk : DefaultClass::high,
                                                .deadline = each.deadline,
                                                .payload = next};
      if (!scheduler.offer(std::move(signal), each.at)) out.of(each).ended(each, std::nullopt);
    }
  };
  while (next < arrivals.size() || !scheduler.idle()) {
    offer_until(now);
    const SignalNext step = scheduler.next(now, sink);
    if (step.kind != SignalNext::Kind::run) {
      if (next < arrivals.size()) now = std::max(now, arrivals[next].at);
      continue;
    }
    const ServiceArrival& served = arrivals[scheduler.signals(step.ticket).front().payload];
    const SteadyTime end = now + served.service;
    offer_until(end);  // while the server is busy
    now = end;
    out.of(served).ended(served, now);
    scheduler.done(step.ticket, now);
  }
  return out;
}

}  // namespace aura::bench
