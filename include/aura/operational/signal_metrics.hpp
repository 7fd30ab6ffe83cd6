// What a class of signals went through, counted: readable from any thread while the router works.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/signal_event.hpp>
#include <aura/stats/latency_histogram.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace aura {

/// At one moment; between two counters of a class that works, one signal may be counted in the one only.
struct SignalClassStats {
  std::uint64_t offered = 0;
  std::array<std::uint64_t, signal_refusals> refused{};  ///< by SignalRefusal
  std::uint64_t handled = 0;  ///< those whose handler failed included
  std::uint64_t failed = 0;
  std::uint64_t missed = 0;   ///< handled, but after the deadline
  std::array<std::uint64_t, signal_drops> dropped{};     ///< by index_of(SignalDrop)
  std::uint64_t waiting = 0;
  std::uint64_t running = 0;
  std::uint64_t promoted = 0;
  Duration wait_p50{}, wait_p99{};  ///< from acceptance to the handler's start
  std::uint64_t batches = 0;  ///< calls of the handler; `handled / batches` is their mean size
  std::uint64_t batch_largest = 0;
  std::uint64_t batch_target = 1;
  Duration handling_mean{};   ///< predicted, of one signal

  std::uint64_t refused_in_all() const noexcept { return sum(refused); }
  std::uint64_t dropped_in_all() const noexcept { return sum(dropped); }
  /// offered = refused + handled + dropped + waiting + running, whenever nothing is half-way.
  bool conserved() const noexcept {
    return offered == refused_in_all() + handled + dropped_in_all() + waiting + running;
  }

 private:
  template <std::size_t N>
  static std::uint64_t sum(const std::array<std::uint64_t, N>& counts) noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t count : counts) all += count;
    return all;
  }
};

namespace detail {

/// One writer, any reader: a load and a store, which is cheaper than a locked increment.
class StatCounter {
 public:
  void add(std::uint64_t by = 1) noexcept { set(get() + by); }
  void sub(std::uint64_t by = 1) noexcept { set(get() - by); }
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct SignalClassMetrics {
  StatCounter offered, handled, failed, missed, waiting, running, promoted, batches, batch_largest, batch_target,
      handling_mean_ns;
  std::array<StatCounter, signal_refusals> refused;
  std::array<StatCounter, signal_drops> dropped;
  LatencyHistogram waits;

  SignalClassStats snapshot() const noexcept {
    SignalClassStats out;
    out.offered = offered.get();
    for (std::size_t i = 0; i < signal_refusals; ++i) out.refused[i] = refused[i].get();
    out.handled = handled.get();
    out.failed = failed.get();
    out.missed = missed.get();
    for (std::size_t i = 0; i < signal_drops; ++i) out.dropped[i] = dropped[i].get();
    out.waiting = waiting.get();
    out.running = running.get();
    out.promoted = promoted.get();
    out.wait_p50 = waits.quantile(0.5);
    out.wait_p99 = waits.quantile(0.99);
    out.batches = batches.get();
    out.batch_largest = batch_largest.get();
    out.batch_target = batch_target.get();
    out.handling_mean = Duration(static_cast<Duration::rep>(handling_mean_ns.get()));
    return out;
  }
};

}  // namespace detail
}  // namespace aura
