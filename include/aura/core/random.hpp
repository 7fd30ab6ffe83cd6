// A small, fast, seedable generator. Every draw a component makes comes from a stream the runtime names for it.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

namespace aura {

/// Spreads 64 bits over 64 bits (Vigna's splitmix64 finaliser). Also the seeding function of `Random`.
constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// FNV-1a, 64 bits. For naming random streams and for fingerprints; never for untrusted keys in a hash table.
constexpr std::uint64_t fnv1a64(std::string_view text, std::uint64_t hash = 0xCBF29CE484222325u) noexcept {
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3u;
  }
  return hash;
}

/// xoshiro256++ 1.0 (Blackman, Vigna 2019): a UniformRandomBitGenerator of 32 bytes, under a nanosecond a draw.
/// Not for cryptography. Not shared between threads.
class Random {
 public:
  using result_type = std::uint64_t;

  explicit constexpr Random(std::uint64_t seed = 0) noexcept {
    for (auto& word : state_) word = mix64(seed += 0x9E3779B97F4A7C15u);
  }

  /// The stream `name` of the family `seed`: one more draw in one stream changes no other.
  static constexpr Random stream(std::uint64_t seed, std::string_view name) noexcept {
    return Random(mix64(seed) ^ fnv1a64(name));
  }

  static constexpr result_type min() noexcept { return 0; }
  static constexpr result_type max() noexcept { return std::numeric_limits<result_type>::max(); }

  constexpr result_type operator()() noexcept {
    const std::uint64_t out = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return out;
  }

  /// Uniform in [0, 1), 53 bits. The same on every platform, which std::uniform_real_distribution is not.
  constexpr double uniform() noexcept { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }

  /// Uniform in [0, bound); 0 for a bound of 0. Lemire's multiply-shift with rejection: without bias.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    if (bound == 0) return 0;
    const std::uint64_t reject = (0 - bound) % bound;
    for (;;) {
      const auto [high, low] = multiply((*this)(), bound);
      if (low >= reject) return high;
    }
  }

  /// True with the given probability.
  constexpr bool chance(double probability) noexcept { return uniform() < probability; }

 private:
  struct Product {
    std::uint64_t high, low;
  };
  static constexpr Product multiply(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t a_low = a & 0xFFFFFFFFu, a_high = a >> 32, b_low = b & 0xFFFFFFFFu, b_high = b >> 32;
    const std::uint64_t mid = a_high * b_low + ((a_low * b_low) >> 32);
    const std::uint64_t mid2 = a_low * b_high + (mid & 0xFFFFFFFFu);
    return {a_high * b_high + (mid >> 32) + (mid2 >> 32), a * b};
  }

  std::uint64_t state_[4]{};
};

}  // namespace aura
