// A token bucket: against a slow, obvious one with exact arithmetic.
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/guard.hpp>
#include <aura/operational/rate_limiter.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Duration;
using aura::RateLimiter;
using aura::rejection_errc;
using aura::Result;
using aura::SteadyTime;
using Permit = RateLimiter::Permit;

namespace {

SteadyTime at(Duration since) { return SteadyTime(since); }

/// A bucket of tokens as the books have it: it fills drop by drop, to the brim, and a call takes a whole token. Counted
/// in parts of which `period` nanoseconds make `permits` tokens, so nothing is ever rounded.
class ObviousBucket {
 public:
  ObviousBucket(std::int64_t permits, Duration period, std::int64_t burst)
      : permits_(permits), token_(period.count()), brim_(token_ * burst), parts_(brim_) {}

  bool take(SteadyTime now) {
    fill(now);
    if (parts_ < token_) return false;
    parts_ -= token_;
    return true;
  }
  /// The first nanosecond at which there is a token.
  Duration until_token() const {
    return Duration(parts_ >= token_ ? 0 : (token_ - parts_ + permits_ - 1) / permits_);
  }
  void put_back() { parts_ = std::min(brim_, parts_ + token_); }

 private:
  void fill(SteadyTime now) {
    parts_ = std::min(brim_, parts_ + (now - last_).count() * permits_);
    last_ = now;
  }
  std::int64_t permits_, token_, brim_, parts_;
  SteadyTime last_{};
};

void spend(Result<Permit> permit) { permit->record({}); }

}  // namespace

TEST_CASE("a rate limiter is a guard") {
  STATIC_REQUIRE(aura::guard<RateLimiter>);
  STATIC_REQUIRE(aura::permit<Permit>);
}

TEST_CASE("a full bucket gives its burst, then the rate, and says exactly when the next token is there") {
  RateLimiter limiter({.permits = 10, .period = 1s, .burst = 3});
  for (int i = 0; i < 3; ++i) spend(limiter.try_acquire(at(0s)));
  const auto refused = limiter.try_acquire(at(30ms));
  REQUIRE(refused.has_error());
  CHECK(refused.error().is(rejection_errc::rate_limited));
  CHECK(refused.error().error_class() == aura::ErrorClass::rejected);
  CHECK(refused.error().retry_after() == 70ms);
  CHECK(limiter.try_acquire(at(100ms - 1ns)).has_error());
  spend(limiter.try_acquire(at(100ms)));
  CHECK(limiter.try_acquire(at(100ms)).has_error());
  for (int i = 0; i < 3; ++i) spend(limiter.try_acquire(at(10h)));
  CHECK(limiter.try_acquire(at(10h)).has_error());
}

TEST_CASE("a token that was the last one taken goes back when its permit is dropped; a spent one does not") {
  RateLimiter limiter({.permits = 1, .period = 1s});
  { const auto permit = limiter.try_acquire(at(0s)); }
  CHECK(limiter.tokens(at(0s)) == 1);
  spend(limiter.try_acquire(at(0s)));
  CHECK(limiter.try_acquire(at(0s)).has_error());
}

TEST_CASE("a token dropped late lets nobody past the burst") {
  RateLimiter limiter({.permits = 1, .period = 1s});
  auto held = limiter.try_acquire(at(0s));
  spend(limiter.try_acquire(at(20s)));
  { const auto dropped = std::move(held); }
  CHECK(limiter.try_acquire(at(20s)).has_error());
}

TEST_CASE("over random operations a limiter agrees with an obvious bucket in exact arithmetic") {
  for_each_seed("operational", "over random operations a limiter*", 100, [](std::uint64_t seed) {
    aura::Random dice(seed);
    // Rates whose token is a whole number of sixteenths of a nanosecond: the limiter is exact.
    const std::uint32_t rates[] = {1, 2, 4, 5, 8, 10, 16, 100, 1000, 1'000'000};
    const std::uint32_t permits = rates[dice.below(std::size(rates))];
    const auto burst = static_cast<std::uint32_t>(1 + dice.below(6));
    RateLimiter limiter({.permits = permits, .period = 1s, .burst = burst});
    ObviousBucket model(permits, 1s, burst);
    SteadyTime now{};
    const std::int64_t token_ns = 1'000'000'000 / permits;
    for (int i = 0; i < 2000; ++i) {
      const auto span = dice.chance(0.02) ? 20 * token_ns : token_ns;
      if (dice.chance(0.6)) now += Duration(dice.below(static_cast<std::uint64_t>(2 * span)));
      auto permit = limiter.try_acquire(now);
      REQUIRE(permit.has_value() == model.take(now));
      if (!permit) {
        REQUIRE(permit.error().retry_after() == model.until_token());
        if (dice.chance(0.3)) now += permit.error().retry_after();
      } else if (dice.chance(0.8)) {
        permit->record({});
      } else {
        model.put_back();  // it is dropped at once
      }
    }
  });
}

TEST_CASE("an odd rate is never exceeded, and met within a millionth") {
  RateLimiter limiter({.permits = 7, .period = 1s, .burst = 1});
  SteadyTime now{};
  constexpr int calls = 70'000;
  for (int i = 0; i < calls; ++i) {
    auto permit = limiter.try_acquire(now);
    if (!permit) {
      now += permit.error().retry_after();
      permit = limiter.try_acquire(now);
    }
    spend(std::move(permit));
  }
  const double seconds = std::chrono::duration<double>(now.time_since_epoch()).count();
  CHECK(seconds >= (calls - 1) / 7.0);
  CHECK(seconds <= calls / 7.0 * (1 + 1e-6));
}

TEST_CASE("those who wait get their tokens in the order in which they came, each at its time") {
  aura::sim::Runtime world;
  RateLimiter limiter(world, {.permits = 10, .period = 1s, .burst = 1, .queue_max = 3});
  std::vector<std::pair<int, Duration>> got;
  for (int i = 0; i < 4; ++i)
    limiter.async_acquire([&, i](Result<Permit> permit) {
      REQUIRE(permit.has_value());
      got.emplace_back(i, world.steady_now().time_since_epoch());
    });
  CHECK(got.empty());
  std::optional<aura::Error> refused;
  limiter.async_acquire([&](Result<Permit> permit) { refused = permit.error(); });
  world.run_until(at(50ms));
  REQUIRE(refused);
  CHECK(refused->is(rejection_errc::queue_full));
  CHECK(refused->retry_after() == 100ms);
  CHECK(limiter.try_acquire(world.steady_now()).error().retry_after() == 350ms);  // behind those who wait
  world.run();
  CHECK(got == std::vector<std::pair<int, Duration>>{{0, 0ms}, {1, 100ms}, {2, 200ms}, {3, 300ms}});
}

TEST_CASE("who would wait past the deadline is turned away at once and told how much too early") {
  aura::sim::Runtime world;
  RateLimiter limiter(world, {.permits = 10, .period = 1s, .burst = 1, .queue_max = 10, .wait_max = 250ms});
  std::vector<std::optional<aura::Error>> answers;
  for (int i = 0; i < 4; ++i)
    limiter.async_acquire(
        [&](Result<Permit> permit) { answers.push_back(permit ? std::nullopt : std::optional(permit.error())); });
  world.run_until(world.steady_now());
  REQUIRE(answers.size() == 2);
  CHECK((answers[0].has_value() || answers[1].has_value()));
  const auto& refused = answers[0] ? answers[0] : answers[1];
  CHECK(refused->is(rejection_errc::deadline_too_near));
  CHECK(refused->retry_after() == 50ms);
  world.run();
  CHECK(answers.size() == 4);
  std::optional<aura::Error> impatient;
  spend(limiter.try_acquire(world.steady_now() + 1s));
  world.run_for(1s);
  limiter.async_acquire(10ms, [&](Result<Permit> permit) { impatient = permit.error(); });
  world.run();
  REQUIRE(impatient);
  CHECK(impatient->retry_after() == 90ms);
}

TEST_CASE("a cancelled reservation moves up all who are behind it, and no wait is left behind") {
  aura::sim::Runtime world;
  RateLimiter limiter(world, {.permits = 10, .period = 1s, .burst = 1, .queue_max = 9});
  std::map<int, asio::cancellation_signal> signals;
  std::vector<std::pair<int, Duration>> got;
  std::vector<int> cancelled;
  for (int i = 0; i < 5; ++i)
    limiter.async_acquire(asio::bind_cancellation_slot(signals[i].slot(), [&, i](Result<Permit> permit) {
      if (permit)
        got.emplace_back(i, world.steady_now().time_since_epoch());
      else
        cancelled.push_back(i);
    }));
  world.run_until(at(50ms));
  signals[1].emit(asio::cancellation_type::terminal);  // the first of the queue
  signals[3].emit(asio::cancellation_type::partial);
  world.run();
  CHECK(cancelled.size() == 2);
  CHECK(got == std::vector<std::pair<int, Duration>>{{0, 0ms}, {2, 100ms}, {4, 200ms}});
  CHECK(limiter.try_acquire(world.steady_now()).error().retry_after() == 100ms);
  CHECK(world.steady_now() == at(200ms));
}

TEST_CASE("whatever is cancelled or dropped, no span of time sees more than the burst and its share") {
  for_each_seed("operational", "whatever is cancelled or dropped*", 60, [](std::uint64_t seed) {
    aura::sim::Runtime world({.seed = seed});
    aura::Random dice = world.random("test");
    const auto burst = static_cast<std::int64_t>(1 + dice.below(4));
    constexpr Duration token = 10ms;
    RateLimiter limiter(
        world,
        {.permits = 100, .period = 1s, .burst = static_cast<std::uint32_t>(burst), .queue_max = 8, .wait_max = 60ms});
    std::vector<Duration> passed;
    std::map<int, asio::cancellation_signal> signals;
    std::map<int, bool> pending;
    std::vector<Permit> held;
    for (int i = 0; i < 600; ++i) {
      switch (dice.below(6)) {
        case 0:
        case 1:
          pending[i] = true;
          limiter.async_acquire(asio::bind_cancellation_slot(signals[i].slot(), [&, i](Result<Permit> permit) {
            REQUIRE(pending.erase(i) == 1);
            if (permit) passed.push_back(world.steady_now().time_since_epoch());
          }));
          break;
        case 2:
          if (auto permit = limiter.try_acquire(world.steady_now())) {
            if (dice.chance(0.5)) {
              permit->record({});
              passed.push_back(world.steady_now().time_since_epoch());
            } else {
              held.push_back(std::move(*permit));
            }
          }
          break;
        case 3:
          if (!held.empty()) held.erase(held.begin());
          break;
        case 4:
          if (!pending.empty()) signals[pending.begin()->first].emit(asio::cancellation_type::terminal);
          break;
        default: world.run_for(Duration(dice.below(30'000'000)));
      }
    }
    world.run();
    REQUIRE(pending.empty());
    REQUIRE(limiter.waiting() == 0);
    REQUIRE(passed.size() > 100);
    for (std::size_t from = 0; from < passed.size(); ++from)
      for (std::size_t to = from; to < passed.size(); ++to)
        REQUIRE(static_cast<std::int64_t>(to - from + 1) <= burst + (passed[to] - passed[from]) / token);
    CHECK(limiter.tokens(world.steady_now() + 1s) == Approx(static_cast<double>(burst)));
  });
}

TEST_CASE("a limiter of extreme rates and spans stays within its arithmetic") {
  RateLimiter slow({.permits = 1, .period = Duration::max(), .burst = 1'000'000});
  spend(slow.try_acquire(at(0s)));
  CHECK(slow.try_acquire(SteadyTime::max()).has_value());
  RateLimiter fast({.permits = 4'000'000'000, .period = 1s, .burst = 4'000'000'000});
  for (int i = 0; i < 1000; ++i) spend(fast.try_acquire(at(-1h)));
  CHECK(fast.try_acquire(SteadyTime::min()).error().retry_after() > 1h);  // a clock that went back
  RateLimiter none({.permits = 0, .period = 0s});
  CHECK(none.try_acquire(at(1s)).has_value());
}

TEST_CASE("threads together get exactly the burst at one instant", "[threads]") {
  constexpr std::uint32_t burst = 1000;
  RateLimiter limiter({.permits = 1, .period = 1h, .burst = burst});
  std::atomic<std::uint32_t> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i)
        if (auto permit = limiter.try_acquire(at(1s))) {
          permit->record({});
          ++passed;
        }
    });
  for (auto& thread : threads) thread.join();
  CHECK(passed == burst);
}
