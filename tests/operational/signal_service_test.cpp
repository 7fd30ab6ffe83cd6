// The service figures that the router promises, exact in virtual time.
#include "../../benchmarks/support/signal_service.hpp"

#include "support/catch.hpp"

#include <cstdint>

namespace bench = aura::bench;

TEST_CASE("at load 0.9 signals are five times quicker than under FIFO, and bulk hardly pays for it") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    const auto arrivals = bench::service_arrivals({.load = 0.9, .sigma = 1, .arrivals = 300'000, .seed = seed});
    const bench::ServiceResult fifo = bench::serve_fifo(arrivals), routed = bench::serve_routed(arrivals);
    const double before_ms = fifo.signals.quantile(0.99), now_ms = routed.signals.quantile(0.99);
    REQUIRE(now_ms * 5 <= before_ms);
    REQUIRE(now_ms <= before_ms - 20);
    REQUIRE(routed.bulk.quantile(0.99) <= 1.1 * fifo.bulk.quantile(0.99));
    REQUIRE(routed.signals.latencies_ms.size() + routed.bulk.latencies_ms.size() == arrivals.size());
  }
}

TEST_CASE("at load 1.2 signals are on time and most of bulk is, where plain EDF serves next to nobody") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    const auto arrivals = bench::service_arrivals({.load = 1.2, .sigma = 1, .arrivals = 400'000, .seed = seed});
    const bench::ServiceResult routed = bench::serve_routed(arrivals);
    REQUIRE(routed.signals.share_on_time() >= 0.99);
    REQUIRE(routed.all_on_time() >= 0.75);
    REQUIRE(bench::serve_edf(arrivals).all_on_time() < 0.01);
    REQUIRE(routed.signals.latencies_ms.size() + routed.bulk.latencies_ms.size() == arrivals.size());
  }
}
