// What a signal router answers on its senders' own threads: credits, and the refusals that need no order of things.
#pragma once

#include <aura/operational/signal_class.hpp>
#include <aura/operational/signal_event.hpp>
#include <aura/operational/signal_metrics.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace aura::detail {

/// A credit stands for one place among a class's waiting signals. Posting takes one, and it comes back when the signal
/// begins to be handled, is dropped, or is refused after all: what is on its way counts too. From any thread.
class SignalFront {
 public:
  explicit SignalFront(const std::vector<SignalClass>& classes)
      : size_(classes.size()), lines_(std::make_unique<Line[]>(classes.size())) {
    for (std::size_t i = 0; i < size_; ++i) {
      lines_[i].credits.store(static_cast<std::int64_t>(classes[i].capacity_max), std::memory_order_relaxed);
      capacity_ += classes[i].capacity_max;
    }
  }

  std::size_t capacity() const noexcept { return capacity_; }
  void close() noexcept { closed_.store(true, std::memory_order_relaxed); }

  /// Takes a credit, or says why not. Two atomic operations at most.
  std::optional<SignalRefusal> admit(std::size_t index) noexcept {
    if (index >= size_) {
      unknown_.fetch_add(1, std::memory_order_relaxed);
      return SignalRefusal::unknown_class;
    }
    Line& line = lines_[index];
    if (closed_.load(std::memory_order_relaxed)) {
      line.draining.fetch_add(1, std::memory_order_relaxed);
      return SignalRefusal::draining;
    }
    if (line.credits.fetch_sub(1, std::memory_order_relaxed) <= 0) return refuse_full(index);
    return std::nullopt;
  }
  SignalRefusal refuse_full(std::size_t index) noexcept {
    give_back(index, 1);
    lines_[index].full.fetch_add(1, std::memory_order_relaxed);
    return SignalRefusal::full;
  }
  void give_back(std::size_t index, std::int64_t count) noexcept {
    lines_[index].credits.fetch_add(count, std::memory_order_relaxed);
  }
  std::size_t credits(std::size_t index) const noexcept {
    if (index >= size_) return 0;
    return static_cast<std::size_t>(std::max<std::int64_t>(lines_[index].credits.load(std::memory_order_relaxed), 0));
  }

  std::uint64_t unknown() const noexcept { return unknown_.load(std::memory_order_relaxed); }
  /// A class's own figures and what was refused here.
  SignalClassStats merged(std::size_t index, SignalClassStats stats) const noexcept {
    const std::uint64_t full = lines_[index].full.load(std::memory_order_relaxed);
    const std::uint64_t draining = lines_[index].draining.load(std::memory_order_relaxed);
    stats.offered += full + draining;
    stats.refused[static_cast<std::size_t>(SignalRefusal::full)] += full;
    stats.refused[static_cast<std::size_t>(SignalRefusal::draining)] += draining;
    return stats;
  }

 private:
  struct alignas(128) Line {  // senders of different classes do not disturb each other
    std::atomic<std::int64_t> credits{0};
    std::atomic<std::uint64_t> full{0};
    std::atomic<std::uint64_t> draining{0};
  };

  std::size_t size_;
  std::unique_ptr<Line[]> lines_;
  std::size_t capacity_ = 0;
  std::atomic<std::uint64_t> unknown_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace aura::detail
