// The watch on values that stay, that move, and that are all the same. The marks come from sorted samples.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/shift_watch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace {

using aura::ShiftNews;

/// Lognormal values on a scale of hundredths, with the marks that belong to the first regime.
class Stream {
 public:
  Stream(std::uint64_t seed, double sigma) : dice_(seed), sigma_(sigma) {
    watch.set_marks(place(-0.8416), place(0.8416));
  }
  ShiftNews next(double shift) {
    const double radius = std::sqrt(-2 * std::log1p(-dice_.uniform()));
    return watch.observe(place(radius * std::cos(2 * std::numbers::pi * dice_.uniform()) + shift / sigma_));
  }
  aura::ShiftWatch watch;

 private:
  std::size_t place(double z) const { return static_cast<std::size_t>(std::max(0.0, 2000 + 100 * sigma_ * z)); }
  aura::Random dice_;
  double sigma_;
};

}  // namespace

TEST_CASE("a false alarm comes about once in a million values") {
  Stream stream(1, 1);
  int alarms = 0;
  for (int i = 0; i < 5'000'000; ++i) {
    if (stream.next(0) != ShiftNews::shifted) continue;
    ++alarms;
    stream.watch = Stream(1, 1).watch;
  }
  REQUIRE(alarms <= 8);  // at most 3.8 are to be expected
}

TEST_CASE("values that move by the factor 3 are told within some dozens, up and down") {
  for (const double shift : {std::log(3.0), -std::log(3.0)}) {
    for (const double sigma : {0.5, 1.0, 1.5}) {
      double values = 0;
      for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        Stream stream(seed, sigma);
        for (int i = 0; i < 1024; ++i) REQUIRE(stream.next(0) != ShiftNews::shifted);
        int taken = 1;
        while (stream.next(shift) != ShiftNews::shifted && taken < 2000) ++taken;
        REQUIRE(taken <= 400);
        values += taken / 200.0;
      }
      INFO("sigma " << sigma << ": " << values << " values");
      REQUIRE(values <= (sigma < 1.2 ? 48 : 96));
    }
  }
}

TEST_CASE("values that are all the same are no shift, and marks are asked for at doublings") {
  aura::ShiftWatch watch;
  std::vector<int> asked;
  for (int i = 1; i <= 5000; ++i) {
    const ShiftNews news = watch.observe(500);
    REQUIRE(news != ShiftNews::shifted);
    if (news != ShiftNews::marks_due) continue;
    watch.set_marks(500, 500);
    asked.push_back(i);
  }
  REQUIRE(asked == std::vector<int>{64, 128, 256, 512, 1024, 2048, 4096});
}

TEST_CASE("after an alarm the watch begins anew, without marks") {
  Stream stream(3, 1);
  int taken = 0;
  while (stream.next(3) != ShiftNews::shifted) REQUIRE(++taken < 100);
  for (int i = 0; i < 1000; ++i) REQUIRE(stream.next(-3) != ShiftNews::shifted);
}
