// Which of many buckets are occupied: three levels of 64-bit words, so that the next one is found in a few steps.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace aura::detail {

/// One bit for each of `size` buckets: a power of two from 4,096 to 262,144. Every operation takes constant time and at
/// most three words. Not shared between threads.
class BucketBitmap {
 public:
  static constexpr std::uint64_t size_min = 64 * 64;
  static constexpr std::uint64_t size_max = 64 * 64 * 64;

  explicit BucketBitmap(std::uint64_t size)
      : words_(std::make_unique<std::uint64_t[]>(size / 64)),
        groups_(std::make_unique<std::uint64_t[]>(size / 4096)) {}

  bool empty() const noexcept { return top_ == 0; }
  bool test(std::uint64_t at) const noexcept { return (words_[at / 64] >> (at % 64) & 1) != 0; }

  // Without branches: whether a word was empty before is a coin that nobody can call.
  void set(std::uint64_t at) noexcept {
    words_[at / 64] |= bit(at);
    groups_[at / 4096] |= bit(at / 64);
    top_ |= bit(at / 4096);
  }

  void reset(std::uint64_t at) noexcept {
    if ((words_[at / 64] &= ~bit(at)) == 0) reset_group(at);
  }

  /// Empties an occupied bucket and finds the first one after it, past the end from the beginning. Some other bucket is
  /// occupied. One branch where that is near, instead of two that nobody can predict.
  std::uint64_t reset_and_next(std::uint64_t at) noexcept {
    const std::uint64_t word = words_[at / 64] &= ~bit(at);
    if (const std::uint64_t rest = word >> (at % 64); rest != 0) return at + lowest(rest);
    if (word == 0) reset_group(at);
    return next_beyond(at / 64);
  }

  /// The first occupied bucket at `at` or after it, and past the end from the beginning. Some bucket is occupied.
  std::uint64_t next(std::uint64_t at) const noexcept {
    if (const std::uint64_t rest = words_[at / 64] >> (at % 64); rest != 0) return at + lowest(rest);
    return next_beyond(at / 64);
  }

 private:
  std::uint64_t next_beyond(std::uint64_t word) const noexcept {
    if (const std::uint64_t rest = groups_[word / 64] & above(word); rest != 0)
      return in_word(word / 64 * 64 + lowest(rest));
    const std::uint64_t later = top_ & above(word / 64);
    return in_group(lowest(later != 0 ? later : top_));
  }

  void reset_group(std::uint64_t at) noexcept {
    if ((groups_[at / 4096] &= ~bit(at / 64)) == 0) top_ &= ~bit(at / 4096);
  }

  static constexpr std::uint64_t bit(std::uint64_t at) noexcept { return std::uint64_t{1} << (at % 64); }
  static constexpr std::uint64_t above(std::uint64_t at) noexcept { return ~std::uint64_t{1} << (at % 64); }
  static constexpr std::uint64_t lowest(std::uint64_t word) noexcept {
    return static_cast<std::uint64_t>(std::countr_zero(word));
  }
  std::uint64_t in_word(std::uint64_t word) const noexcept { return word * 64 + lowest(words_[word]); }
  std::uint64_t in_group(std::uint64_t group) const noexcept { return in_word(group * 64 + lowest(groups_[group])); }

  std::unique_ptr<std::uint64_t[]> words_;
  std::unique_ptr<std::uint64_t[]> groups_;
  std::uint64_t top_ = 0;
};

}  // namespace aura::detail
