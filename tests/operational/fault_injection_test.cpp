// Failures on purpose: seeded, bounded, and off until switched on.
#include "operational/pipeline_world.hpp"

#include <algorithm>

using namespace pipeline_world;

TEST_CASE("what a call gets is a function of the seed and its number") {
  const aura::FaultInjectionOptions options{
      .error_probability = 0.3, .latency_probability = 0.3, .latency_spread = 1};
  aura::FaultInjection one(7, options), same(7, options), other(8, options);
  int differ = 0;
  one.switch_on();
  for (std::uint64_t n = 0; n < 1000; ++n) {
    const auto fault = one.next();
    const auto again = same.fault_of(n);
    CHECK(fault.latency == again.latency);
    CHECK(fault.error.has_value() == again.error.has_value());
    differ += other.fault_of(n).error.has_value() != again.error.has_value();
  }
  CHECK(differ > 300);
  aura::sim::Runtime world({.seed = 3});
  aura::FaultInjection named(world, options, "a"), twin(world, options, "a"), third(world, options, "b");
  differ = 0;
  for (std::uint64_t n = 0; n < 100; ++n) {
    CHECK(named.fault_of(n).latency == twin.fault_of(n).latency);
    differ += named.fault_of(n).latency != third.fault_of(n).latency;
  }
  CHECK(differ > 0);
}

TEST_CASE("errors and latencies come as often and are as long as was asked") {
  const aura::FaultInjection faults(1, {.error_probability = 0.2,
                                        .latency_probability = 0.5,
                                        .latency_median = 100ms,
                                        .latency_spread = 1,
                                        .latency_max = 1s});
  int errors = 0, both = 0;
  std::vector<Duration> latencies;
  for (std::uint64_t n = 0; n < 100'000; ++n) {
    const auto fault = faults.fault_of(n);
    errors += fault.error.has_value();
    both += fault.error && fault.latency > 0ms;
    if (fault.latency > 0ms) latencies.push_back(fault.latency);
  }
  CHECK(errors / 1e5 == Approx(0.2).margin(0.005));
  CHECK(static_cast<double>(latencies.size()) / 1e5 == Approx(0.5).margin(0.006));
  CHECK(both / 1e5 == Approx(0.1).margin(0.004));
  std::sort(latencies.begin(), latencies.end());
  const auto quantile = [&](double q) {
    return std::chrono::duration<double>(
               latencies[static_cast<std::size_t>(q * static_cast<double>(latencies.size()))])
        .count();
  };
  CHECK(quantile(0.5) == Approx(0.1).epsilon(0.02));
  CHECK(quantile(0.8413) == Approx(0.2718).epsilon(0.03));  // one sigma of the logarithm
  CHECK(latencies.back() == 1s);
}

TEST_CASE("faults are off until switched on, can be switched off, and end by themselves at their bound") {
  aura::FaultInjection faults(1, {.error_probability = 1, .faults_max = 3});
  CHECK(!faults.next().any());
  faults.switch_on();
  CHECK(faults.next().error->is(aura::rejection_errc::fault_injected));
  faults.switch_on(false);
  CHECK(!faults.next().any());
  faults.switch_on();
  CHECK(faults.next().any());
  CHECK(faults.next().any());
  CHECK(!faults.next().any());
  CHECK(!faults.is_on());
  CHECK(faults.faults() == 3);
}

TEST_CASE("an injected error takes the place of the action, and an injected wait is before it") {
  aura::sim::Runtime world;
  aura::FaultInjection faults(1, {.error_probability = 1, .latency_probability = 1, .latency_median = 2s});
  faults.switch_on();
  aura::Pipeline pipeline(world, faults);
  int calls = 0;
  const auto answer = call(world, pipeline, [&] { return ++calls; });
  CHECK(answer.error().is(aura::rejection_errc::fault_injected));
  CHECK(answer.error().error_class() == ErrorClass::transient);
  CHECK(answer.at == 2s);
  CHECK(calls == 0);
  faults.switch_on(false);
  CHECK(call(world, pipeline, [&] { return ++calls; }).at == 2s);
  CHECK(calls == 1);
}

TEST_CASE("an injected wait runs into the timeout, of a plain action too") {
  aura::sim::Runtime world;
  aura::FaultInjection faults(1, {.latency_probability = 1, .latency_median = 5s});
  faults.switch_on();
  aura::Pipeline pipeline(world, aura::Timeout{1s}, faults);
  int calls = 0;
  const auto answer = call(world, pipeline, [&] { return ++calls; });
  CHECK(answer.error().error_class() == ErrorClass::timeout);
  CHECK(answer.at == 1s);
  CHECK(calls == 0);
  CHECK(world.steady_now().time_since_epoch() == 1s);
}
