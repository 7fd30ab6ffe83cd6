// Controlled delay: drops from the head of a queue that has stood too long.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/signal_class.hpp>

#include <cmath>
#include <cstdint>

namespace aura {

/// The state machine of RFC 8289 (Nichols, Jacobson 2018): once the wait of what leaves has been above `target` for a
/// whole `interval`, the head is dropped, and again at intervals that shrink with the square root of the number of
/// drops, until the wait is below `target`. Ask it once for each item that reaches the head. Not shared.
class CoDel {
 public:
  explicit CoDel(CoDelOptions options = {}) noexcept : options_(options) {}

  /// True where the head shall be dropped; ask again for the next head. `waited`: how long the head did. `last`: nothing
  /// is behind it: a queue of one is never too long.
  bool drop(SteadyTime now, Duration waited, bool last) noexcept {
    const bool standing = stands(now, waited, last);
    dropping_ = dropping_ && standing;
    if (!standing) return false;
    if (dropping_) return drop_when_due(now);
    // Soon after the last episode it takes up near the rate that controlled the queue then.
    const std::uint32_t fresh = count_ - count_before_;
    const bool recent = now - drop_next_ < 16 * options_.interval;
    count_ = recent && fresh > 1 ? fresh : 1;
    count_before_ = count_;
    dropping_ = true;
    drop_next_ = now + gap();
    return true;
  }

  /// The queue ran empty.
  void emptied() noexcept {
    first_above_ = SteadyTime{};
    above_ = false;
    dropping_ = false;
  }

 private:
  bool stands(SteadyTime now, Duration waited, bool last) noexcept {
    if (waited < options_.target || last) {
      above_ = false;
      return false;
    }
    if (!above_) {
      above_ = true;
      first_above_ = now + options_.interval;
      return false;
    }
    return now >= first_above_;
  }
  bool drop_when_due(SteadyTime now) noexcept {
    if (now < drop_next_) return false;
    ++count_;
    drop_next_ += gap();
    return true;
  }
  Duration gap() const noexcept {
    return Duration(static_cast<Duration::rep>(static_cast<double>(options_.interval.count()) /
                                               std::sqrt(static_cast<double>(count_))));
  }

  CoDelOptions options_;
  SteadyTime first_above_{};
  SteadyTime drop_next_{};
  std::uint32_t count_ = 0;
  std::uint32_t count_before_ = 0;
  bool above_ = false;
  bool dropping_ = false;
};

}  // namespace aura
