// The calls that are under way, and the signals that each was given.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/bounded_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aura::detail {

/// At most `parallel_max` at once, each with room for `batch_max` signals that is kept from call to call.
template <class S, class Extra>
class SignalTickets {
 public:
  struct Ticket {
    std::vector<S> signals{};
    std::vector<Extra> extras{};
    std::vector<Duration> waits{};
    std::vector<std::uint32_t> keys{};
    SteadyTime started{};
    double predicted_ns = 0;
    std::uint32_t generation = 0;
    std::uint8_t class_index = 0;
    bool running = false;
  };

  SignalTickets(std::size_t parallel_max, std::size_t batch_max) : tickets_(parallel_max) {
    free_.reserve(parallel_max);
    for (std::size_t i = parallel_max; i-- > 0;) {
      tickets_[i].signals.reserve(batch_max);
      tickets_[i].extras.reserve(batch_max);
      tickets_[i].waits.reserve(batch_max);
      tickets_[i].keys.reserve(batch_max);
      free_.push_back(static_cast<std::uint32_t>(i));
    }
  }

  bool available() const noexcept { return !free_.empty(); }
  std::size_t running() const noexcept { return tickets_.size() - free_.size(); }
  std::size_t size() const noexcept { return tickets_.size(); }
  Ticket& operator[](std::uint32_t index) noexcept { return tickets_[index]; }
  bool valid(std::uint32_t index, std::uint32_t generation) const noexcept {
    return index < tickets_.size() && tickets_[index].running && tickets_[index].generation == generation;
  }

  std::uint32_t take(std::uint8_t class_index) noexcept {
    const std::uint32_t index = free_.back();
    free_.pop_back();
    tickets_[index].class_index = class_index;
    tickets_[index].running = true;
    return index;
  }
  /// Its call has begun and is expected to take this long.
  void started(std::uint32_t index, SteadyTime now, double predicted_ns) noexcept {
    tickets_[index].started = now;
    tickets_[index].predicted_ns = predicted_ns;
    ends_ns_ += nanoseconds(now) + predicted_ns;
    predicted_ns_ += predicted_ns;
    ++begun_;
  }
  void free(std::uint32_t index) noexcept {
    Ticket& gone = tickets_[index];
    if (!gone.signals.empty()) {
      ends_ns_ -= nanoseconds(gone.started) + gone.predicted_ns;
      predicted_ns_ -= gone.predicted_ns;
      if (--begun_ == 0) ends_ns_ = predicted_ns_ = 0;  // what rounding left
    }
    gone.signals.clear();
    gone.extras.clear();
    gone.waits.clear();
    gone.keys.clear();
    gone.running = false;
    ++gone.generation;
    free_.push_back(index);
  }
  /// What is left of the calls under way, as predicted, together. A sum that is kept; only where some seem to be overdue
  /// it is taken anew, since those have nothing left, not less.
  double remaining_ns(SteadyTime now) const noexcept {
    const double now_ns = nanoseconds(now);
    const double left = ends_ns_ - static_cast<double>(begun_) * now_ns;
    if (left >= predicted_ns_ / 4) return left;
    double sum = 0;
    for (const Ticket& each : tickets_)
      if (each.running) sum += std::max(0.0, nanoseconds(each.started) + each.predicted_ns - now_ns);
    return sum;
  }

 private:
  static double nanoseconds(SteadyTime at) noexcept { return static_cast<double>(at.time_since_epoch().count()); }

  std::vector<Ticket> tickets_;
  std::vector<std::uint32_t> free_;
  double ends_ns_ = 0;  // of the calls under way, summed
  double predicted_ns_ = 0;
  std::size_t begun_ = 0;
};

}  // namespace aura::detail
