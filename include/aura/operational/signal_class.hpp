// The classes of signals and what holds for each: its share, its bound, what happens to the late.
#pragma once

#include <aura/core/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace aura {

/// What happens to a signal that reaches the head of its class after its deadline.
enum class LatePolicy : std::uint8_t { drop, deliver };

/// Controlled delay (RFC 8289), with the constants that it publishes.
struct CoDelOptions {
  bool on = false;
  Duration target = std::chrono::milliseconds(5);      ///< a standing wait above this is too long
  Duration interval = std::chrono::milliseconds(100);  ///< for how long it may be
  /// Signals with a deadline are left alone: that deadline says how long they may wait, and admission and the late
  /// policy keep to it. Dropped at 5 ms of waiting, a signal that has half a second would be lost for nothing.
  bool spare_deadlines = true;
};

/// How a class forms batches of signals with one batch key, for a handler that takes several at once.
struct SignalBatchOptions {
  std::size_t size_max = 1;  ///< 1: no batches
  bool bypass = false;       ///< take company that is there, but never wait for it
  Duration wait_max = std::chrono::milliseconds(5);  ///< no batch waits longer for company
  /// What a call costs besides its signals, until there is enough history to measure it.
  Duration call_cost = std::chrono::microseconds(500);
};

/// One class of signals.
struct SignalClass {
  std::string name{};
  std::uint32_t weight = 1;  ///< its share of handling time where several classes have work
  std::size_t capacity_max = 4096;  ///< signals that wait; one more is refused (SignalRefusal::full)
  LatePolicy late = LatePolicy::drop;
  bool feasibility = true;  ///< refuse on arrival what cannot be handled in time
  CoDelOptions codel{};
  bool fifo_per_key =
      false;  ///< a key's signals in order of arrival, whatever their deadlines; batches: per batch key
  SignalBatchOptions batch{};
  /// A signal without a deadline is ordered among the others as if it had this long. It is never late.
  Duration patience = std::chrono::seconds(1);
  Duration handling_hint{};  ///< predicted handling time while nothing has been measured; zero admits all until then
};

/// Indices into `default_signal_classes()`.
struct DefaultClass {
  static constexpr std::uint8_t critical = 0, high = 1, normal = 2, low = 3, bulk = 4;
};

inline constexpr std::size_t signal_classes_max = 8;

/// Critical, high, normal, low and bulk, each with twice the share of the next. Critical signals never wait for a
/// batch to fill and are delivered late rather than not at all; bulk is kept from standing by CoDel.
inline std::vector<SignalClass> default_signal_classes() {
  std::vector<SignalClass> classes(5);
  const char* const names[] = {"critical", "high", "normal", "low", "bulk"};
  for (std::size_t i = 0; i < classes.size(); ++i) {
    classes[i].name = names[i];
    classes[i].weight = 16u >> i;
  }
  classes[DefaultClass::critical].late = LatePolicy::deliver;
  classes[DefaultClass::critical].feasibility = false;
  classes[DefaultClass::critical].batch.bypass = true;
  classes[DefaultClass::bulk].codel.on = true;
  return classes;
}

}  // namespace aura
