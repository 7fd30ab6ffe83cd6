// xoshiro256++ against its authors' description, written down here a second time, and what is drawn from it.
#include "support/catch.hpp"

#include <aura/core/random.hpp>

#include <array>
#include <map>

namespace {

/// As published at prng.di.unimi.it, over a state that this test knows.
struct Published {
  std::array<std::uint64_t, 4> s{};
  static std::uint64_t rotl(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::uint64_t next() {
    const std::uint64_t result = rotl(s[0] + s[3], 23) + s[0];
    const std::uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
  }
};

std::uint64_t splitmix64(std::uint64_t& x) {
  std::uint64_t z = (x += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

TEST_CASE("the published generator gives its published first numbers") {
  Published known{.s = {1, 2, 3, 4}};  // the reference vector of the Rust crate rand_xoshiro
  for (const std::uint64_t expected : {41943041u, 58720359u}) REQUIRE(known.next() == expected);
  REQUIRE(known.next() == 3588806011781223u);
  REQUIRE(known.next() == 3591011842654386u);
}

TEST_CASE("mix64 is splitmix64's step") {
  std::uint64_t x = 1234567;
  const std::uint64_t published[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u};
  for (std::uint64_t i = 0; i < 3; ++i) {
    REQUIRE(aura::mix64(1234567 + i * 0x9e3779b97f4a7c15) == published[i]);
    REQUIRE(splitmix64(x) == published[i]);
  }
}

TEST_CASE("a seeded generator is xoshiro256++ over a splitmix64 state") {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    Published reference;
    std::uint64_t x = seed + 0x9e3779b97f4a7c15;
    for (auto& word : reference.s) word = splitmix64(x);
    aura::Random dice(seed);
    for (int i = 0; i < 1000; ++i) REQUIRE(dice() == reference.next());
  }
}

TEST_CASE("one more draw in one stream changes no other") {
  aura::Random a = aura::Random::stream(5, "a"), b = aura::Random::stream(5, "b");
  (void)a();
  REQUIRE(b() == aura::Random::stream(5, "b")());
  REQUIRE(aura::Random::stream(5, "a")() != aura::Random::stream(5, "b")());
  REQUIRE(aura::Random::stream(5, "a")() != aura::Random::stream(6, "a")());
}

TEST_CASE("what is drawn below a bound is below it and even") {
  aura::Random dice(3);
  REQUIRE(dice.below(0) == 0);
  REQUIRE(dice.below(1) == 0);
  std::map<std::uint64_t, int> seen;
  for (int i = 0; i < 60'000; ++i) ++seen[dice.below(6)];
  REQUIRE(seen.size() == 6);
  for (const auto& [value, times] : seen) {
    REQUIRE(value < 6);
    REQUIRE(std::abs(times - 10'000) < 500);  // five standard deviations
  }
  const std::uint64_t large = (std::uint64_t{3} << 62) + 1;
  for (int i = 0; i < 1000; ++i) REQUIRE(dice.below(large) < large);
  for (int i = 0; i < 1000; ++i) {
    const double u = dice.uniform();
    REQUIRE((u >= 0 && u < 1));
  }
}

TEST_CASE("FNV-1a gives its published values") {
  REQUIRE(aura::fnv1a64("") == 0xcbf29ce484222325u);
  REQUIRE(aura::fnv1a64("a") == 0xaf63dc4c8601ec8cu);
  REQUIRE(aura::fnv1a64("foobar") == 0x85944171f73967e8u);
}
