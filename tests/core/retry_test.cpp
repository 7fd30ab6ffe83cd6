// When to try again, and when to stop.
#include "support/catch.hpp"

#include <aura/core/retry.hpp>

#include <algorithm>
#include <limits>

namespace {

using namespace std::chrono_literals;
using aura::Duration;
using aura::Error;
using aura::ErrorClass;
using aura::Random;
using aura::RetryBudget;
using aura::RetryPolicy;

Error error_of(ErrorClass error_class) { return Error::fixed("test", 1, error_class, "no"); }

}  // namespace

TEST_CASE("a wait is uniform from zero to the exponential bound, and the bound stops at the cap") {
  const RetryPolicy policy{.attempts_max = 0, .base = 100ms, .factor = 2, .cap = 1s};
  const Duration bounds[] = {100ms, 200ms, 400ms, 800ms, 1s, 1s};
  Random dice(1);
  for (std::uint32_t attempts = 1; attempts <= 6; ++attempts) {
    const Duration bound = bounds[attempts - 1];
    REQUIRE(policy.backoff_max(attempts) == bound);
    Duration least = Duration::max(), most{};
    double sum = 0;
    constexpr int draws = 20'000;
    for (int i = 0; i < draws; ++i) {
      const Duration wait = policy.next(attempts, error_of(ErrorClass::transient), {}, dice).value();
      least = std::min(least, wait);
      most = std::max(most, wait);
      sum += static_cast<double>(wait.count());
    }
    REQUIRE(least >= Duration::zero());
    REQUIRE(most <= bound);
    REQUIRE(least < bound / 100);  // full jitter: from nothing
    REQUIRE(most > bound * 99 / 100);
    const double half = static_cast<double>(bound.count()) / 2, spread = half / 1.7320508 / 141.4;  // of the mean
    REQUIRE(std::abs(sum / draws - half) < 5 * spread);
  }
}

TEST_CASE("which failures are worth another attempt") {
  RetryPolicy policy{.attempts_max = 0};
  const auto retries = [&](ErrorClass error_class) {
    Random dice(1);
    return policy.next(1, error_of(error_class), {}, dice).has_value();
  };
  REQUIRE(retries(ErrorClass::transient));
  REQUIRE(retries(ErrorClass::rejected));
  REQUIRE(retries(ErrorClass::timeout));
  REQUIRE_FALSE(retries(ErrorClass::permanent));
  REQUIRE_FALSE(retries(ErrorClass::cancelled));
  policy.retry_timeouts = false;
  policy.retry_permanent = true;
  REQUIRE_FALSE(retries(ErrorClass::timeout));
  REQUIRE(retries(ErrorClass::permanent));
}

TEST_CASE("the number of attempts counts the first one, and none retries never") {
  Random dice(1);
  const RetryPolicy three{.attempts_max = 3};
  REQUIRE(three.next(2, error_of(ErrorClass::transient), {}, dice));
  REQUIRE_FALSE(three.next(3, error_of(ErrorClass::transient), {}, dice));
  REQUIRE_FALSE(RetryPolicy::none().next(1, error_of(ErrorClass::transient), {}, dice));
  REQUIRE(RetryPolicy::forever().next(4'000'000'000u, error_of(ErrorClass::transient), 10'000h, dice));
}

TEST_CASE("no attempt begins after the deadline, and none comes before it is asked for") {
  Random dice(1);
  const RetryPolicy policy{.attempts_max = 0, .base = 0ns, .deadline = 10s};
  const Error later = error_of(ErrorClass::rejected).with_retry_after(4s);
  REQUIRE(policy.next(1, later, 6s, dice) == Duration(4s));
  REQUIRE_FALSE(policy.next(1, later, 6s + 1ns, dice));
  REQUIRE(policy.next(1, error_of(ErrorClass::transient), 10s, dice) == Duration::zero());
}

TEST_CASE("extreme settings give a bound, not an overflow or an endless loop") {
  Random dice(1);
  const RetryPolicy huge{.attempts_max = 0, .base = Duration::max(), .factor = 1e300, .cap = Duration::max()};
  REQUIRE(huge.backoff_max(1'000'000) == Duration::max());
  REQUIRE(huge.next(1'000'000, error_of(ErrorClass::transient), {}, dice).value() >= Duration::zero());
  const RetryPolicy flat{.attempts_max = 0, .base = 5ms, .factor = 1, .cap = 1s};
  REQUIRE(flat.backoff_max(std::numeric_limits<std::uint32_t>::max()) == 5ms);
  const RetryPolicy at_once{.attempts_max = 0, .base = 0ns};
  REQUIRE(at_once.backoff_max(std::numeric_limits<std::uint32_t>::max()) == 0ns);
  const RetryPolicy limited{.attempts_max = 0, .base = 0ns, .deadline = 1s};
  REQUIRE_FALSE(limited.next(1, error_of(ErrorClass::rejected).with_retry_after(Duration::max()), 5s, dice));
}

TEST_CASE("a failure that is not retried draws nothing from the dice") {
  Random dice(1), untouched(1);
  REQUIRE_FALSE(RetryPolicy{}.next(1, error_of(ErrorClass::permanent), {}, dice));
  REQUIRE_FALSE(RetryPolicy{}.next(3, error_of(ErrorClass::transient), {}, dice));
  REQUIRE(dice() == untouched());
}

TEST_CASE("in the long run retries are at most the budget's part of successes") {
  RetryBudget budget({.ratio = 0.2, .tokens_max = 10});
  int retries = 0;
  for (int success = 0; success < 1000; ++success) {
    budget.deposit();
    while (budget.withdraw()) ++retries;
  }
  REQUIRE(retries >= 200);
  REQUIRE(retries <= 210);  // and what was saved up
  for (int i = 0; i < 1000; ++i) budget.deposit();
  REQUIRE(budget.balance() == 10);
}
