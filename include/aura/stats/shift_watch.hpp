// Tells that values have moved as a whole, up or down, within some dozens of them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace aura {

/// What to do after a value, see `ShiftWatch`.
enum class ShiftNews : std::uint8_t {
  none,
  marks_due,  ///< time to give the marks anew: `set_marks`
  shifted,    ///< what is known of the past no longer holds; the watch begins anew
};

/// Two Bernoulli CUSUMs (Page 1954), of the share of values above a mark and of those below another. The marks are the
/// 80% and 20% quantiles as far as known, from whoever has them, so each share is to be 20% at most; it is looked for
/// as if it rose to 50%, and values are taken 16 at a time. A quantile in the tail learns little from a value; where
/// all slows down by a factor of 3, these two tell it after 16 to 64 values.
///
/// With independent values and exact marks a false alarm comes less than once in 16·e^12/2, some 1.3 million values
/// (Lorden 1971); values that come in runs give more. 48 bytes, 1 ns a value; allocates nothing. Not shared between
/// threads.
class ShiftWatch {
 public:
  /// One value, as the number of a bucket or on any other whole scale that rises with it.
  ShiftNews observe(std::size_t value) noexcept {
    high_ += value > high_mark_ ? 1u : 0u;
    low_ += value < low_mark_ ? 1u : 0u;
    if (++seen_ % block != 0) return ShiftNews::none;
    return end_block();
  }

  /// The 20% and the 80% quantile. Until they are first given there is no alarm.
  void set_marks(std::size_t low, std::size_t high) noexcept {
    low_mark_ = low;
    high_mark_ = high;
  }

 private:
  static constexpr std::uint64_t block = 16;
  static constexpr std::uint64_t first_marks = 64;  // then at each doubling,
  static constexpr std::uint64_t later_marks = 2048;  // and from here on at each of these
  static constexpr double weight_of_hit = 0.9162907318741551;  // ln(0.5/0.2)
  static constexpr double weight_of_other = -0.4700036292457356;  // ln(0.5/0.8)
  static constexpr double threshold = 12;

  static double after(double score, std::uint32_t hits) noexcept {
    return std::max(0.0, score + hits * weight_of_hit + (static_cast<double>(block) - hits) * weight_of_other);
  }

  ShiftNews end_block() noexcept {
    up_ = after(up_, high_);
    down_ = after(down_, low_);
    high_ = low_ = 0;
    if (up_ > threshold || down_ > threshold) {
      *this = ShiftWatch();
      return ShiftNews::shifted;
    }
    const bool due = seen_ % later_marks == 0 || (seen_ >= first_marks && std::has_single_bit(seen_));
    return due ? ShiftNews::marks_due : ShiftNews::none;
  }

  std::size_t low_mark_ = 0;
  std::size_t high_mark_ = std::numeric_limits<std::size_t>::max();
  double up_ = 0;
  double down_ = 0;
  std::uint64_t seen_ = 0;
  std::uint32_t high_ = 0;
  std::uint32_t low_ = 0;
};

}  // namespace aura
